"""The history of handshakes: bounded, asked for in pages, never waited for."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.engine import Decision, Verified
from sidecar.handshakes import HandshakeFilter
from sidecar.jobs import (
    Condition,
    Evidence,
    Outcome,
    ReportedOutcome,
    Role,
    Step,
    Verdict,
    Verify,
)
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.store import History

OURS, PEER = Domain("capulet.example"), Domain("montague.example")
DAY_SECONDS = 86_400
EVERYTHING = HandshakeFilter()
FAILED = Verdict.error(Condition.REMOTE_CONNECTION_FAILED, "connection-refused")


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def history(tmp_path: Path, clock: Clock) -> AsyncIterator[History]:
    async with _opened(tmp_path, clock) as history:
        yield history


class _opened:
    def __init__(self, folder: Path, clock: Callable[[], float], **bounds: Any) -> None:
        bounds = {"days": 30, "records": 1000, **bounds}
        self.history = History(folder / "history.sqlite3", clock=clock, **bounds)

    async def __aenter__(self) -> History:
        await self.history.start()
        return self.history

    async def __aexit__(self, *_: object) -> None:
        await self.history.close()


def outgoing(stream: str, job: str = "verify", peer: Domain = PEER) -> Decision:
    pair = DomainPair(sender=OURS, target=peer)
    return Decision(job, pair, StreamId(stream), Verdict.valid(), 0.001)


def incoming(stream: str, verdict: Verdict, peer: Domain = PEER, ours: Domain = OURS) -> Decision:
    pair = DomainPair(sender=peer, target=ours)
    return Decision("check", pair, StreamId(stream), verdict, 0.1)


async def streams(history: History, wanted: HandshakeFilter = EVERYTHING) -> list[str]:
    return [stored.record.stream for stored in await history.page(wanted, 100)]


async def test_parts_of_one_handshake_are_one_record_also_when_told_far_apart(
    history: History,
) -> None:
    history.note_decision(outgoing("S1", "issue"))
    await history.flush()
    history.note_decision(outgoing("S1", "verify"))
    await history.flush()
    pair = DomainPair(sender=OURS, target=PEER)
    history.note_report(
        ReportedOutcome(
            role=Role.INITIATING,
            mechanism="dialback",
            pair=pair,
            stream=StreamId("S1"),
            type="valid",
        )
    )
    ((number, record),) = await history.page(EVERYTHING, 10)
    assert (record.outcome, record.reported, record.role) == ("valid", "valid", "initiating")
    assert record.issue_us == record.verify_us == 1000
    assert await history.get(number) == record


async def test_parts_of_many_handshakes_told_far_apart_each_find_theirs(history: History) -> None:
    for job, numbers in (("issue", range(100)), ("verify", range(149, 49, -1))):
        for number in numbers:
            history.note_decision(outgoing(f"S{number}", job))
        await history.flush()
    found = await history.page(EVERYTHING, 500)
    assert history.count() == len(found) == len({stored.number for stored in found}) == 150
    parts = {stored.record.stream: stored.record for stored in found}
    for number in range(150):
        record = parts[f"S{number}"]
        assert (record.issue_us is not None) == (number < 100)
        assert (record.verify_us is not None) == (number >= 50)


async def test_pages_are_without_the_traces_that_a_single_handshake_has(history: History) -> None:
    verdict = Verdict(Outcome.VALID, steps=(Step("certificate", 0.0, 0.001),))
    history.note_decision(incoming("S1", verdict))
    ((number, listed),) = await history.page(EVERYTHING, 10)
    whole = await history.get(number)
    assert whole is not None
    assert [step.name for step in whole.steps] == ["certificate"]
    assert listed.steps == []
    assert whole.certificate == listed.certificate == "valid"


async def test_both_directions_of_one_stream_id_are_two_records(history: History) -> None:
    history.note_decision(outgoing("S1"))
    history.note_decision(
        Decision("check", DomainPair(sender=OURS, target=PEER), StreamId("S1"), FAILED, 1)
    )
    assert len(await streams(history)) == 2


async def test_stream_id_seen_again_much_later_is_another_handshake(
    history: History, clock: Clock
) -> None:
    history.note_decision(outgoing("S1"))
    await history.flush()
    clock.seconds += 2 * 3600
    history.note_decision(outgoing("S1"))
    assert await streams(history) == ["S1", "S1"]


async def test_handshakes_are_found_by_peer_outcome_role_and_time(
    history: History, clock: Clock
) -> None:
    history.note_decision(outgoing("S1"))
    clock.seconds += 60
    history.note_decision(incoming("S2", FAILED))
    clock.seconds += 60
    history.note_decision(incoming("S3", Verdict.valid(Evidence.KEY), peer=Domain("other.example")))
    start_ms = int(clock.seconds * 1000) - 30_000
    assert await streams(history) == ["S3", "S2", "S1"]
    assert await streams(history, HandshakeFilter(peer="montague.example")) == ["S2", "S1"]
    assert await streams(history, HandshakeFilter(outcome="error")) == ["S2"]
    assert await streams(history, HandshakeFilter(role="receiving")) == ["S3", "S2"]
    assert await streams(history, HandshakeFilter(from_ms=start_ms)) == ["S3"]
    assert await streams(history, HandshakeFilter(until_ms=start_ms)) == ["S2", "S1"]


async def test_a_restriction_to_domains_hides_all_others(history: History) -> None:
    history.note_decision(outgoing("S1"))
    history.note_decision(incoming("S2", FAILED, ours=Domain("verona.example")))
    assert await streams(history, HandshakeFilter(locals=("verona.example",))) == ["S2"]
    assert await streams(history, HandshakeFilter(locals=())) == []
    assert [each.peer for each in await history.peers("", 10, [])] == []


async def test_pages_stay_the_same_while_handshakes_arrive(history: History) -> None:
    for number in range(10):
        history.note_decision(outgoing(f"S{number}"))
    first = await history.page(EVERYTHING, 4)
    for number in range(10, 15):
        history.note_decision(outgoing(f"S{number}"))
    second = await history.page(HandshakeFilter(before=first[-1].number), 4)
    third = await history.page(HandshakeFilter(before=second[-1].number), 4)
    seen = [stored.record.stream for stored in (*first, *second, *third)]
    assert seen == [f"S{number}" for number in range(9, -1, -1)]


async def test_peers_are_summed_up_in_order_of_name(history: History) -> None:
    history.note_decision(outgoing("S1"))
    history.note_decision(incoming("S2", FAILED))
    history.note_decision(outgoing("S3", peer=Domain("aaa.example")))
    first, second, third = await history.peers("", 10)
    assert (first.peer, first.incoming, first.handshakes, first.valid) == (
        *("aaa.example", False),
        *(1, 1),
    )
    assert (second.peer, second.incoming, second.handshakes, second.error) == (PEER, True, 1, 1)
    assert (third.peer, third.incoming, third.handshakes, third.valid) == (PEER, False, 1, 1)
    assert {each.peer for each in await history.peers("aaa.example", 10)} == {PEER}


async def test_only_the_last_records_are_kept(tmp_path: Path, clock: Clock) -> None:
    async with _opened(tmp_path, clock, records=3) as history:
        for number in range(8):
            history.note_decision(outgoing(f"S{number}"))
        await history.flush()
        await history.prune()
        assert await streams(history) == ["S7", "S6", "S5"]
        assert history.count() == 3


async def test_handshakes_are_forgotten_after_their_days(tmp_path: Path, clock: Clock) -> None:
    async with _opened(tmp_path, clock, days=2) as history:
        history.note_decision(outgoing("S1"))
        await history.flush()
        clock.seconds += DAY_SECONDS
        history.note_decision(outgoing("S2"))
        await history.flush()
        clock.seconds += 1.5 * DAY_SECONDS
        await history.prune()
        assert await streams(history) == ["S2"]


@pytest.mark.parametrize("bounds", [{"days": 0}, {"records": 0}])
async def test_zero_keeps_none_and_erases_what_there_was(
    tmp_path: Path, clock: Clock, bounds: dict[str, int]
) -> None:
    async with _opened(tmp_path, clock) as history:
        history.note_decision(outgoing("S1"))
    assert list(tmp_path.iterdir())
    async with _opened(tmp_path, clock, **bounds) as history:
        history.note_decision(outgoing("S2"))
        assert await streams(history) == []
        assert history.count() == 0
    assert list(tmp_path.iterdir()) == []


async def test_what_is_not_kept_is_still_told(tmp_path: Path, clock: Clock) -> None:
    told: list[Any] = []
    async with _opened(tmp_path, clock, days=0, on_written=told.extend) as history:
        history.note_decision(outgoing("S1"))
        await history.flush()
    assert [(stored.number, stored.record.stream) for stored in told] == [(0, "S1")]


async def test_history_survives_a_restart_and_only_its_user_can_read_it(
    tmp_path: Path, clock: Clock
) -> None:
    async with _opened(tmp_path, clock) as history:
        history.note_decision(outgoing("S1"))
    assert stat.S_IMODE((tmp_path / "history.sqlite3").stat().st_mode) == 0o600
    async with _opened(tmp_path, clock) as history:
        assert await streams(history) == ["S1"]
        assert history.count() == 1


async def test_failing_disk_costs_records_and_nothing_else(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    writer = history._writer
    assert writer is not None
    with monkeypatch.context() as broken:
        broken.setattr(writer, "write", fail)
        history.note_decision(outgoing("S1"))
        await history.flush()
    history.note_decision(outgoing("S2"))
    assert await streams(history) == ["S2"]
    assert (history.lost, history.count()) == (1, 1)


async def test_writing_never_holds_up_the_event_loop(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that does not end: the loop goes on, and later handshakes are still taken."""
    released = asyncio.Event()
    loop = asyncio.get_running_loop()
    writer = history._writer
    assert writer is not None
    write = writer.write

    def slow(records: Any) -> Any:
        asyncio.run_coroutine_threadsafe(released.wait(), loop).result()
        return write(records)

    monkeypatch.setattr(writer, "write", slow)
    history.note_decision(outgoing("S1"))
    flushing = asyncio.ensure_future(history.flush())
    await asyncio.sleep(0)
    history.note_decision(outgoing("S2"))
    assert not flushing.done()
    released.set()
    await flushing
    assert await streams(history) == ["S2", "S1"]


async def test_history_of_the_first_schema_is_brought_up_to_date(
    tmp_path: Path, clock: Clock
) -> None:
    async with _opened(tmp_path, clock) as history:
        history.note_decision(outgoing("S1"))
    with sqlite3.connect(tmp_path / "history.sqlite3") as database:
        for column in ("trace", "external", "certificate"):
            database.execute(f"ALTER TABLE handshake DROP COLUMN {column}")
        database.execute("DROP TABLE last_success")
        database.execute("PRAGMA user_version = 1")
    database.close()
    async with _opened(tmp_path, clock) as history:
        history.note_decision(outgoing("S2"))
        assert await streams(history) == ["S2", "S1"]


async def test_newer_schema_is_left_alone(tmp_path: Path, clock: Clock) -> None:
    async with _opened(tmp_path, clock) as history:
        history.note_decision(outgoing("S1"))
    with sqlite3.connect(tmp_path / "history.sqlite3") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    async with _opened(tmp_path, clock) as history:
        assert "written by a newer one" in history.fault
        with pytest.raises(sqlite3.Error, match="written by a newer one"):
            history.count()
    with sqlite3.connect(tmp_path / "history.sqlite3") as database:
        assert database.execute("SELECT stream FROM handshake").fetchall() == [("S1",)]
    database.close()


async def test_flood_of_verifies_costs_the_history_no_more_than_it_can_take(
    tmp_path: Path, clock: Clock
) -> None:
    pair = DomainPair(sender=OURS, target=PEER)
    asked = [
        Verify(pair=pair, stream=StreamId(f"S{number}"), key=DialbackKey("b483"))
        for number in range(7_000)
    ]
    async with _opened(tmp_path, clock, records=100_000) as history:
        history.note_verified(Verified(asked, [Verdict.valid()] * len(asked), 0.001))
        assert history.lost == 2_000
        history.note_verified(Verified(asked[:5], [Verdict.valid()] * 5, 0.001))
        assert history.lost == 2_000  # these are known
        assert history.count() == 5_000
