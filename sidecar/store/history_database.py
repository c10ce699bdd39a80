"""The history of handshakes in SQLite: written in batches, read in pages, newest first."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from sidecar.handshakes import HandshakeFilter, HandshakeRecord, PeerDirection, PeerTotals
from sidecar.store import history_peers

_FIRST = """
CREATE TABLE handshake (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    role TEXT NOT NULL, sender TEXT NOT NULL, target TEXT NOT NULL, stream TEXT NOT NULL,
    started_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, mechanism TEXT NOT NULL,
    outcome TEXT, condition TEXT, evidence TEXT, reason TEXT,
    issue_us INTEGER, verify_us INTEGER, check_us INTEGER, reported TEXT,
    local TEXT NOT NULL, peer TEXT NOT NULL
) STRICT;
CREATE INDEX handshake_stream ON handshake (stream, sender, target);
CREATE INDEX handshake_peer ON handshake (peer, id);
CREATE INDEX handshake_outcome ON handshake (outcome, id);
CREATE INDEX handshake_local ON handshake (local, id);
CREATE INDEX handshake_started ON handshake (started_ms);
"""
_MIGRATIONS = (
    _FIRST,
    "ALTER TABLE handshake ADD COLUMN trace TEXT;",
    "ALTER TABLE handshake ADD COLUMN external TEXT;"
    " ALTER TABLE handshake ADD COLUMN certificate TEXT;",
)
_FIELDS = HandshakeRecord.__struct_fields__
_COLUMNS = ", ".join(_FIELDS)
_INSERT = (
    f"INSERT INTO handshake ({_COLUMNS}, local, peer)"  # noqa: S608 # names of our own
    f" VALUES ({', '.join('?' * (len(_FIELDS) + 2))})"
)
_UPDATE = f"UPDATE handshake SET {' = ?, '.join(_FIELDS)} = ? WHERE id = ?"  # noqa: S608
_SAME_HANDSHAKE_MS = 3_600_000
"""A stream ID seen again later than this is another stream: peers choose them for our keys. Only
the end of a stream may come at any time."""


class StoredHandshake(NamedTuple):
    """A record and its number: the later it began to be known, the higher."""

    number: int
    record: HandshakeRecord


class HistoryDatabase:
    """One connection to one file of mode 0600. Its methods raise sqlite3.Error and block."""

    def __init__(self, path: Path) -> None:
        """Open or create it. Raises OSError, sqlite3.Error."""
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            # What a power cut takes of the history is not worth a wait for the disk.
            for pragma in ("journal_mode = WAL", "synchronous = OFF", "busy_timeout = 5000"):
                self._database.execute(f"PRAGMA {pragma}")
            self._migrate()
        except BaseException:
            self._database.close()
            raise

    def _migrate(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        for number, step in enumerate(_MIGRATIONS[version:], version + 1):
            self._database.executescript(
                f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {number}; COMMIT;"
            )
        if version > len(_MIGRATIONS):
            raise sqlite3.DatabaseError(f"the history has schema {version}, written by a newer one")

    def write(self, records: Iterable[HandshakeRecord]) -> list[StoredHandshake]:
        """Add records, each to the one of the same handshake if there is one; return them whole."""
        stored = []
        self._database.execute("BEGIN IMMEDIATE")
        try:
            for record in records:
                stored.append(self._write(record))
            self._database.execute("COMMIT")
        finally:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
        return stored

    def _write(self, new: HandshakeRecord) -> StoredHandshake:
        row = self._database.execute(
            f"SELECT id, {_COLUMNS} FROM handshake"  # noqa: S608
            " WHERE stream = ? AND sender = ? AND target = ?"
            " AND (role = 'receiving') = ? AND updated_ms >= ? ORDER BY id DESC LIMIT 1",
            (
                new.stream,
                new.sender,
                new.target,
                new.incoming,
                0 if new.outcome == "closed" else new.started_ms - _SAME_HANDSHAKE_MS,
            ),
        ).fetchone()
        if row is None:
            values = [getattr(new, name) for name in _FIELDS]
            number = self._database.execute(_INSERT, (*values, new.local, new.peer)).lastrowid
            assert number is not None
            return StoredHandshake(number, new)
        number, record = row[0], HandshakeRecord(*row[1:])
        record.add(new)
        self._database.execute(_UPDATE, (*(getattr(record, name) for name in _FIELDS), number))
        return StoredHandshake(number, record)

    def page(self, wanted: HandshakeFilter, limit: int) -> list[StoredHandshake]:
        """Return up to `limit` handshakes, newest first."""
        conditions, values = _where(wanted)
        rows = self._database.execute(
            f"SELECT id, {_COLUMNS} FROM handshake WHERE {conditions}"  # noqa: S608
            " ORDER BY id DESC LIMIT ?",
            (*values, limit),
        )
        return [StoredHandshake(row[0], HandshakeRecord(*row[1:])) for row in rows]

    def get(self, number: int) -> HandshakeRecord | None:
        row = self._database.execute(
            f"SELECT {_COLUMNS} FROM handshake WHERE id = ?",  # noqa: S608
            (number,),
        ).fetchone()
        return None if row is None else HandshakeRecord(*row)

    def peers(
        self,
        after: str,
        limit: int,
        locals_: Sequence[str] | None = None,
        *,
        needing_dialback: bool = False,
    ) -> list[PeerDirection]:
        """Return both directions of up to `limit` peers in order of name."""
        return history_peers.peers(
            self._database, after, limit, locals_, needing_dialback=needing_dialback
        )

    def peer_totals(self, locals_: Sequence[str] | None = None) -> PeerTotals:
        """Count peers, and those that need dialback."""
        return history_peers.totals(self._database, locals_)

    @property
    def count(self) -> int:
        (count,) = self._database.execute("SELECT COUNT(*) FROM handshake").fetchone()
        return int(count)

    def prune(self, *, keep: int, started_before_ms: int) -> None:
        """Forget what began before a time, and all but the last `keep`."""
        self._database.execute("DELETE FROM handshake WHERE started_ms < ?", (started_before_ms,))
        self._database.execute(
            "DELETE FROM handshake WHERE id <="
            " (SELECT id FROM handshake ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (keep,),
        )

    def close(self) -> None:
        self._database.close()


def _where(wanted: HandshakeFilter) -> tuple[str, list[object]]:
    """Return the condition of a query and its values; every part of its text is our own."""
    parts: list[str] = ["1"]
    values: list[object] = []
    for text, value in (
        ("peer = ?", wanted.peer),
        ("local = ?", wanted.local),
        ("role = ?", wanted.role),
        ("outcome = ?", wanted.outcome),
        ("started_ms >= ?", wanted.from_ms),
        ("started_ms < ?", wanted.until_ms),
        ("id < ?", wanted.before),
    ):
        if value is not None:
            parts.append(text)
            values.append(value)
    if wanted.locals is not None:
        parts.append(f"local IN ({', '.join('?' * len(wanted.locals))})")
        values += wanted.locals
    return " AND ".join(parts), values
