"""A history that is full, locked or broken has gaps, says so, and comes back by itself."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from test_history import EVERYTHING, Clock, _opened, outgoing, streams

GARBAGE = b"this was a database once" * 1000


async def test_full_disk_costs_records_until_there_is_room(tmp_path: Path) -> None:
    told: list[Any] = []
    async with _opened(tmp_path, Clock(), on_written=told.extend) as history:
        assert history._writer is not None
        database = history._writer._database
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages}")
        for number in range(500):
            history.note_decision(outgoing(f"S{number}"))
        await history.flush()
        assert (history.lost, history.fault) == (500, "database or disk is full")
        assert len(told) == 500  # whoever watches still sees them
        assert await streams(history) == []
        database.execute("PRAGMA max_page_count = 1000000")
        history.note_decision(outgoing("later"))
        assert await streams(history) == ["later"]
        assert history.fault == ""


async def test_locked_database_costs_records_until_it_is_free(tmp_path: Path) -> None:
    async with _opened(tmp_path, Clock()) as history:
        assert history._writer is not None
        history._writer._database.execute("PRAGMA busy_timeout = 0")
        other = sqlite3.connect(tmp_path / "history.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        history.note_decision(outgoing("S1"))
        await history.flush()
        assert (history.lost, history.fault) == (1, "database is locked")
        assert await history.page(EVERYTHING, 10) == []  # readers go on
        other.execute("ROLLBACK")
        other.close()
        history.note_decision(outgoing("S2"))
        assert await streams(history) == ["S2"]


async def test_file_that_is_no_database_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "history.sqlite3"
    path.write_bytes(GARBAGE)
    async with _opened(tmp_path, Clock()) as history:
        assert history.fault == ""
        history.note_decision(outgoing("S1"))
        assert await streams(history) == ["S1"]
    assert path.with_name("history.sqlite3.broken").read_bytes() == GARBAGE
    assert "the history is broken" in caplog.text


async def test_database_that_breaks_while_it_is_used_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite3"
    async with _opened(tmp_path, Clock()) as history:
        for number in range(2000):
            history.note_decision(outgoing(f"S{number}"))
        await history.flush()
        assert history._writer is not None
        history._writer._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:  # every page behind the first
            size = path.stat().st_size
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))
        history._writer._database.execute("PRAGMA shrink_memory")
        history.note_decision(outgoing("lost"))
        await history.flush()
        assert history.lost == 1
        history.note_decision(outgoing("kept"))
        assert await streams(history) == ["kept"]
        assert history.fault == ""


async def test_reader_that_finds_it_broken_begins_anew(tmp_path: Path) -> None:
    async with _opened(tmp_path, Clock()) as history:
        history.note_decision(outgoing("S1"))
        await history.flush()
        assert history._reader is not None

        def broken(*_: object) -> Any:
            (tmp_path / "other").write_bytes(GARBAGE)
            return sqlite3.connect(tmp_path / "other").execute("SELECT 1 FROM sqlite_master")

        history._reader.page = broken  # type: ignore[method-assign]
        with pytest.raises(sqlite3.DatabaseError):
            await streams(history)
        history.note_decision(outgoing("S2"))
        assert await streams(history) == ["S2"]


async def test_history_that_could_not_be_opened_is_opened_later(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite3"
    path.mkdir()
    async with _opened(tmp_path, Clock()) as history:
        assert "directory" in history.fault
        history.note_decision(outgoing("S1"))
        await history.flush()
        assert history.lost == 1
        with pytest.raises(sqlite3.Error):
            await streams(history)
        path.rmdir()
        await history.look_after()
        history.note_decision(outgoing("S2"))
        assert await streams(history) == ["S2"]


async def test_fault_is_told_in_the_log_once_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "history.sqlite3").mkdir()
    async with _opened(tmp_path, Clock()) as history:
        for _ in range(10):
            await history.look_after()
    assert caplog.text.count("has a gap") == 1
