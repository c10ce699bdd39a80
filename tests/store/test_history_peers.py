"""How each peer got through last, and what would break without dialback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.engine import Decision
from sidecar.handshakes import PeerDirection, PeerTotals
from sidecar.jobs import Condition, Evidence, ReportedOutcome, Role, Step, Verdict
from sidecar.names import Domain, DomainPair, StreamId
from sidecar.store import History

OURS, ROOMS = Domain("capulet.example"), Domain("rooms.capulet.example")
PEER, OTHER = Domain("montague.example"), Domain("verona.example")
SELF_SIGNED = Step("certificate", 0.0, 0.001, "", "certificate-self-signed")
BY_KEY = Verdict(Verdict.valid().outcome, evidence=Evidence.KEY, steps=(SELF_SIGNED,))


class Told:
    """A history, and short words for what it is told."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.seconds = 1_700_000_000.0
        self._streams = 0

    def clock(self) -> float:
        self.seconds += 1
        return self.seconds

    def checked(self, verdict: Verdict, *, peer: Domain = PEER, ours: Domain = OURS, **more: Any):
        self._streams += 1
        pair = DomainPair(sender=peer, target=ours)
        stream = StreamId(f"in{self._streams}")
        self.history.note_decision(Decision("check", pair, stream, verdict, 0.1, **more))

    def sent(
        self,
        result: str | None,
        *,
        peer: Domain = PEER,
        ours: Domain = OURS,
        asked: bool = True,
        external: str | None = None,
    ) -> None:
        """We sent a key; the peer asked about it, or not, and answered with `result`."""
        self._streams += 1
        pair, stream = DomainPair(sender=ours, target=peer), StreamId(f"out{self._streams}")
        valid = Verdict.valid()
        self.history.note_decision(Decision("issue", pair, stream, valid, 0.001, external))
        if asked:
            self.history.note_decision(Decision("verify", pair, stream, valid, 0.001))
        if result is not None:
            self._report(Role.INITIATING, "dialback", pair, stream, result)

    def external(self, role: Role, *, peer: Domain = PEER, ours: Domain = OURS) -> None:
        self._streams += 1
        incoming = role is Role.RECEIVING
        pair = DomainPair(sender=peer if incoming else ours, target=ours if incoming else peer)
        stream = StreamId(f"ext{self._streams}")
        self._report(role, "external", pair, stream, "valid")
        self._report(role, "external", pair, stream, "closed")

    def _report(self, role: Role, mechanism: str, pair: DomainPair, stream: StreamId, type_: str):
        self.history.note_report(
            ReportedOutcome(role=role, mechanism=mechanism, pair=pair, stream=stream, type=type_)
        )

    async def direction(self, peer: Domain = PEER, *, incoming: bool) -> PeerDirection:
        (found,) = [
            each
            for each in await self.history.peers("", 100)
            if (each.peer, each.incoming) == (peer, incoming)
        ]
        return found


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Told]:
    history = History(tmp_path / "history.sqlite3", days=30_000, records=1000)
    told = Told(history)
    history._clock = told.clock
    await history.start()
    yield told
    await history.close()


async def test_incoming_by_key_needs_dialback_because_of_the_certificate(told: Told) -> None:
    told.checked(BY_KEY, external="not-offered")
    found = await told.direction(incoming=True)
    (success,) = found.dialbacks
    assert (success.evidence, success.certificate) == ("key", "certificate-self-signed")
    assert (success.local, success.external) == (OURS, "not-offered")
    assert (found.dialback, found.external) == (1, 0)


async def test_outgoing_counts_when_the_peer_has_taken_us(told: Told) -> None:
    told.sent(None)
    assert (await told.direction(incoming=False)).successes == []
    told.sent("valid", external="refused")
    (success,) = (await told.direction(incoming=False)).dialbacks
    assert (success.external, success.key_asked) == ("refused", True)


async def test_peer_that_did_not_ask_about_the_key_had_other_evidence(told: Told) -> None:
    told.sent("valid", asked=False)
    (success,) = (await told.direction(incoming=False)).dialbacks
    assert not success.key_asked


@pytest.mark.parametrize("role", [Role.INITIATING, Role.RECEIVING])
async def test_last_success_decides_whether_dialback_is_needed(told: Told, role: Role) -> None:
    incoming = role is Role.RECEIVING

    def by_dialback() -> None:
        if incoming:
            told.checked(BY_KEY)
        else:
            told.sent("valid")

    by_dialback()
    told.external(role)
    found = await told.direction(incoming=incoming)
    assert found.dialbacks == []
    assert (found.dialback, found.external) == (1, 1)
    by_dialback()
    assert len((await told.direction(incoming=incoming)).dialbacks) == 1


async def test_each_of_our_domains_counts_for_itself(told: Told) -> None:
    """EXTERNAL is for the first pair of a stream; others on it have nothing but dialback."""
    told.external(Role.RECEIVING, ours=OURS)
    told.checked(BY_KEY, ours=ROOMS)
    found = await told.direction(incoming=True)
    assert [success.local for success in found.dialbacks] == [ROOMS]


async def test_last_failure_keeps_its_reason(told: Told) -> None:
    told.checked(Verdict.error(Condition.REMOTE_CONNECTION_FAILED, "connect-refused"))
    told.checked(Verdict.invalid("answer-invalid"))
    told.checked(BY_KEY)
    found = await told.direction(incoming=True)
    assert found.failed_why == "answer-invalid"
    assert found.failed_ms is not None and found.failed_ms < found.last_ms
    assert (found.valid, found.invalid, found.error) == (1, 1, 1)


async def test_totals_say_what_would_break(told: Told) -> None:
    assert await told.history.peer_totals() == PeerTotals(0, 0, 0, 0, 0)
    told.checked(BY_KEY)
    told.sent("valid")
    told.sent("valid", peer=OTHER)
    told.external(Role.RECEIVING, peer=OTHER)
    told.external(Role.INITIATING, peer=Domain("good.example"))
    told.checked(Verdict.invalid("answer-invalid"), peer=Domain("evil.example"))
    assert await told.history.peer_totals() == PeerTotals(4, 3, 2, 1, 2)
    assert await told.history.peer_totals([ROOMS]) == PeerTotals(0, 0, 0, 0, 0)


async def test_peers_are_read_in_pages_of_names(told: Told) -> None:
    for name in ("a.example", "b.example", "c.example"):
        told.checked(BY_KEY, peer=Domain(name))
        told.sent("valid", peer=Domain(name))
    told.external(Role.RECEIVING, peer=Domain("b.example"))
    told.external(Role.INITIATING, peer=Domain("b.example"))
    first = await told.history.peers("", 2)
    assert [(each.peer, each.incoming) for each in first] == [
        *[("a.example", True), ("a.example", False)],
        *[("b.example", True), ("b.example", False)],
    ]
    assert {each.peer for each in await told.history.peers("b.example", 2)} == {"c.example"}
    needing = await told.history.peers("", 10, needing_dialback=True)
    assert {each.peer for each in needing} == {"a.example", "c.example"}


async def test_end_of_a_stream_after_days_is_no_handshake_of_its_own(told: Told) -> None:
    pair, stream = DomainPair(sender=OURS, target=PEER), StreamId("S1")
    told._report(Role.INITIATING, "external", pair, stream, "valid")
    await told.history.flush()
    told.seconds += 3 * 86_400
    told._report(Role.INITIATING, "external", pair, stream, "closed")
    found = await told.direction(incoming=False)
    assert (found.handshakes, found.external) == (1, 1)
