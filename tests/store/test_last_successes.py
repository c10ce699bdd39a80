"""What would break without dialback is told from a table of its own, which says what a look at the
whole history says, whatever was written, changed, taken back or forgotten."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.handshakes import HandshakeRecord, PeerTotals
from sidecar.store.history_database import HistoryDatabase
from sidecar.store.last_successes import GOT_THROUGH

OURS = ("capulet.example", "rooms.capulet.example")
OUTGOING = ("initiating", "authoritative")
BEGAN_MS = 1_700_000_000_000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[HistoryDatabase]:
    database = HistoryDatabase(tmp_path / "history.sqlite3")
    yield database
    database.close()


def record(number: int, peer: str = "montague.example", **more: Any) -> HandshakeRecord:
    """An incoming handshake that got through by its key."""
    fields: dict[str, Any] = {
        "role": "receiving",
        "sender": peer,
        "target": OURS[0],
        "stream": f"S{number}",
        "started_ms": BEGAN_MS + number,
        "updated_ms": BEGAN_MS + number,
        "mechanism": "dialback",
        "outcome": "valid",
    }
    return HandshakeRecord(**(fields | more))


def table_and_history(path: Path) -> tuple[list[Any], list[Any]]:
    with sqlite3.connect(path) as database:
        table = database.execute("SELECT * FROM last_success ORDER BY 1, 2, 3").fetchall()
        history = database.execute(
            "SELECT peer, role = 'receiving' AS incoming, local, MAX(id), mechanism"
            f" FROM handshake WHERE {GOT_THROUGH} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ).fetchall()
    database.close()
    return table, history


@pytest.mark.parametrize("seed", range(5))
def test_table_says_what_the_whole_history_says(
    database: HistoryDatabase, tmp_path: Path, seed: int
) -> None:
    """Streams come again, so that what got through is changed, and taken back."""
    chance = random.Random(seed)
    seen = False
    for turn in range(60):
        some = []
        for _ in range(chance.randrange(1, 12)):
            number, peer, ours = chance.randrange(20), chance.choice("ab"), chance.choice(OURS)
            incoming = chance.random() < 0.5
            outcome = chance.choice(["valid", "valid", "invalid", "error", "closed"])
            some.append(
                record(
                    number + turn * 20,
                    stream=f"S{number}",
                    role="receiving" if incoming else chance.choice(OUTGOING),
                    sender=peer if incoming else ours,
                    target=ours if incoming else peer,
                    mechanism=chance.choice(["dialback", "external"]),
                    outcome=outcome,
                    reported=chance.choice([None, outcome]),
                )
            )
        database.write(list({each.key: each for each in some}.values()))
        if turn % 10 == 9:
            oldest_ms = BEGAN_MS + chance.randrange(turn * 20)
            database.prune(keep=chance.choice([40, 1000]), started_before_ms=oldest_ms)
        table, history = table_and_history(tmp_path / "history.sqlite3")
        assert table == history
        seen = seen or bool(table)
    assert seen


def test_success_that_is_taken_back_gives_way_to_the_one_before(database: HistoryDatabase) -> None:
    database.write([record(1)])
    database.write([record(2, mechanism="external")])
    assert database.peer_totals() == PeerTotals(1, 1, 0, 0, 0)
    database.write([record(2, outcome="error")])
    assert database.peer_totals() == PeerTotals(1, 1, 1, 1, 0)
    database.write([record(1, outcome="error")])
    assert database.peer_totals() == PeerTotals(1, 0, 0, 0, 0)


def test_peer_whose_last_success_is_forgotten_needs_nothing(database: HistoryDatabase) -> None:
    database.write([record(1), record(2, "verona.example")])
    assert database.peer_totals() == PeerTotals(2, 2, 2, 2, 0)
    database.prune(keep=1, started_before_ms=0)
    assert database.peer_totals() == PeerTotals(1, 1, 1, 1, 0)
    assert [each.peer for each in database.peers("", 9, needing_dialback=True)] == [
        "verona.example"
    ]


def test_history_that_was_there_before_is_taken_in(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite3"
    database = HistoryDatabase(path)
    database.write([record(1), record(2, mechanism="external", target=OURS[1])])
    database.close()
    with sqlite3.connect(path) as older:
        older.executescript("DROP TABLE last_success; PRAGMA user_version = 3")
    older.close()
    HistoryDatabase(path).close()
    table, history = table_and_history(path)
    assert table == history
    assert len(table) == 2
