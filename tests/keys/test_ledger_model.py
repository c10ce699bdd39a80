"""The ledger against a model of it that keeps everything and computes nothing cleverly."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from ledger_desk import Desk

from sidecar.keys.ledger import (
    ALREADY_ENDED,
    EXPIRED,
    NEVER_ISSUED,
    REPLAYED,
    VALID,
    WRONG,
)
from sidecar.keys.limits import Limits

LIFETIME_MS, REPEAT_MS, MEMORY_MS = 120_000, 60_000, 600_000
triples = st.tuples(
    st.sampled_from(["capulet.example", "mantua.example"]),
    st.sampled_from(["montague.example", "rome.test"]),
    st.sampled_from(["1", "2", "3"]),
)


class Comparison(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.desk = Desk(Limits(memory_ms=MEMORY_MS))
        self.issued: dict[tuple[str, str, str], dict[str, int | bool | None]] = {}

    @rule(triple=triples)
    def issue(self, triple):
        assert self.desk.issue(*triple).key == self.desk.forge(*triple)
        self.issued[triple] = {"at": self.desk.now_ms, "used": None, "ended": False}

    @rule(triple=triples)
    def verify_right_key(self, triple):
        assert self.desk.verify(self.desk.forge(*triple), *triple) is self.expected(triple)

    @rule(triple=triples, other=triples)
    def verify_key_of_another_triple(self, triple, other):
        if other != triple:
            assert self.desk.verify(self.desk.forge(*other), *triple) is WRONG

    @rule(triple=triples)
    def end(self, triple):
        self.desk.end(*triple)
        entry = self.issued.get(triple)
        if entry is not None:
            entry["ended"] = True

    @rule(ms=st.one_of(st.integers(0, 3), st.integers(0, 130_000), st.integers(0, 900_000)))
    def time_passes(self, ms):
        self.desk.now_ms += ms

    @rule()
    def restart(self):
        self.desk.restart()

    def expected(self, triple):
        entry, now_ms = self.issued.get(triple), self.desk.now_ms
        if entry is None:
            return NEVER_ISSUED
        forgotten_at = entry["at"] - entry["at"] % 60_000 + 60_000 + MEMORY_MS
        if this_minute(now_ms) >= forgotten_at:
            return NEVER_ISSUED
        if now_ms >= entry["at"] + LIFETIME_MS:
            return EXPIRED
        if entry["ended"]:
            return ALREADY_ENDED
        if entry["used"] is None:
            entry["used"] = now_ms
        return VALID if now_ms - entry["used"] <= REPEAT_MS else REPLAYED


def this_minute(now_ms):
    return now_ms - now_ms % 60_000


Comparison.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLedgerAgainstModel = Comparison.TestCase
