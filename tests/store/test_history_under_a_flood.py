"""Whoever asks in vain, again and again, pushes no other handshake out of the history."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.engine import Decision, Verified
from sidecar.handshakes import HandshakeFilter
from sidecar.jobs import Condition, Verdict, Verify
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.store import History

OURS, HONEST = Domain("capulet.example"), Domain("montague.example")
RECORDS = 4_000
FORGED = Verdict.invalid("key-unknown")
REFUSED = Verdict.error(Condition.REMOTE_CONNECTION_FAILED, "no-address")


@pytest.fixture
async def history(tmp_path: Path) -> AsyncIterator[History]:
    history = History(tmp_path / "history.sqlite3", days=30, records=RECORDS)
    await history.start()
    yield history
    await history.close()


def issued(stream: str) -> Decision:
    pair = DomainPair(sender=OURS, target=HONEST)
    return Decision("issue", pair, StreamId(stream), Verdict.valid(), 0.001)


def forged_verifies(name: str, count: int) -> Verified:
    asked = [
        Verify(
            pair=DomainPair(sender=OURS, target=Domain(f"x{number}.example")),
            stream=StreamId(f"{name}{number}"),
            key=DialbackKey("b483"),
        )
        for number in range(count)
    ]
    return Verified(asked, [FORGED] * count, 0.001)


def refused_checks(name: str, count: int) -> list[Decision]:
    return [
        Decision(
            "check",
            DomainPair(sender=Domain(f"x{number}.example"), target=OURS),
            StreamId(f"{name}{number}"),
            REFUSED,
            0.001,
        )
        for number in range(count)
    ]


async def honest_streams(history: History) -> list[str]:
    page = await history.page(HandshakeFilter(peer=str(HONEST)), 2 * RECORDS)
    return [stored.record.stream for stored in page]


async def test_honest_handshake_has_room_beside_any_number_of_forged_ones(
    history: History,
) -> None:
    history.note_verified(forged_verifies("F", 7_000))
    for decision in refused_checks("C", 7_000):
        history.note_decision(decision)
    lost = history.lost
    assert 9_000 < lost < 14_000
    for number in range(2_000):
        history.note_decision(issued(f"S{number}"))
    assert history.lost == lost
    assert len(await honest_streams(history)) == 2_000


@pytest.mark.parametrize("job", ["verify", "check"])
async def test_flood_for_hours_leaves_honest_handshakes_of_before(
    job: str, history: History
) -> None:
    for number in range(2_000):
        history.note_decision(issued(f"S{number}"))
    await history.flush()
    for hour in range(8):
        if job == "verify":
            history.note_verified(forged_verifies(f"F{hour}-", 1_500))
        else:
            for decision in refused_checks(f"C{hour}-", 1_500):
                history.note_decision(decision)
        await history.flush()
        await history.prune()
        history._rate.refill(3600)
    assert len(await honest_streams(history)) == 2_000
    assert history.count() == RECORDS


async def test_where_there_is_room_strangers_in_vain_may_have_it(history: History) -> None:
    history.note_verified(forged_verifies("F", 2_400))
    await history.prune()
    assert history.count() == 2_400  # more than their share


async def test_key_of_ours_that_a_peer_found_invalid_counts_as_an_honest_handshake(
    history: History,
) -> None:
    pair = DomainPair(sender=OURS, target=HONEST)
    history.note_decision(issued("S1"))
    history.note_decision(Decision("verify", pair, StreamId("S1"), FORGED, 0.001))
    await history.flush()
    for hour in range(6):
        history.note_verified(forged_verifies(f"F{hour}-", 1_500))
        await history.flush()
        await history.prune()
        history._rate.refill(3600)
    assert await honest_streams(history) == ["S1"]
