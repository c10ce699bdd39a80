"""The life of versions against a plain model, in any order, with restarts and kills between."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from key_house import House

from sidecar.keys.ledger import VALID
from sidecar.keys.limits import Limits
from sidecar.keys.messages import RevokeSecret, RotateSecret

LIFETIME_MS = 10_000
DOMAIN = "capulet.example"


class Lifecycle(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.house = House(Path(self.directory.name), Limits(lifetime_ms=LIFETIME_MS))
        self.issued = []  # (stream, key, version number, issued at)
        self.newest = 0
        self.revoked = set()
        self.unclean_until_ms = 0

    def teardown(self):
        self.house.lose()
        self.directory.cleanup()

    @rule()
    def issue(self):
        stream = f"S{len(self.issued)}"
        key = self.house.issue(DOMAIN, "montague.example", stream).key
        self.newest = max(self.newest, 1)
        self.issued.append((stream, key, self.newest, self.house.now_ms))

    @precondition(lambda self: self.issued)
    @rule(data=st.data())
    def verify(self, data):
        stream, key, number, at_ms = data.draw(st.sampled_from(self.issued))
        verdict = self.house.verify(key, DOMAIN, "montague.example", stream)
        if number not in self.revoked and self.house.now_ms < at_ms + LIFETIME_MS:
            assert verdict is VALID
        else:
            assert verdict.outcome != "valid"

    @precondition(lambda self: self.newest)
    @rule()
    def rotate(self):
        reply = self.house.admin(RotateSecret(DOMAIN))
        if getattr(reply, "reason", None) != "too-many-retired":
            self.newest += 1
            assert reply.versions == [(DOMAIN, self.newest)]

    @precondition(lambda self: self.newest)
    @rule(data=st.data())
    def revoke(self, data):
        number = data.draw(st.integers(1, self.newest))
        reply = self.house.admin(RevokeSecret(DOMAIN, number))
        if getattr(reply, "reason", None) != "no-such-version":
            self.revoked.add(number)
            self.newest += number == self.newest

    @rule(ms=st.integers(0, 15_000))
    def time_passes(self, ms):
        self.house.pass_time(ms)

    @rule(clean=st.booleans())
    def restart(self, clean):
        if clean:
            self.house.close()
        else:
            self.house.lose()
            self.unclean_until_ms = self.house.now_ms + LIFETIME_MS
        self.house.open()

    @invariant()
    def states_are_what_the_issued_keys_need(self):
        states = self.house.states(DOMAIN)
        if not self.newest:
            assert states == []
            return
        now_ms = self.house.now_ms
        needed = {number for _, _, number, at_ms in self.issued if now_ms < at_ms + LIFETIME_MS}
        for number, state in states:
            if number == self.newest:
                assert state == "active"
            elif number in self.revoked:
                assert state == "revoked"
            elif number in needed:
                assert state == "retired"
            else:
                assert state in ("retired", "removed")

    @invariant()
    def nothing_stays_longer_than_needed(self):
        self.house.pass_time(250)
        now_ms = self.house.now_ms
        needed = {number for _, _, number, at_ms in self.issued if now_ms < at_ms + LIFETIME_MS}
        for number, state in self.house.states(DOMAIN):
            if state == "retired":
                assert number in needed or now_ms < self.unclean_until_ms


Lifecycle.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestVersionLifecycle = Lifecycle.TestCase
