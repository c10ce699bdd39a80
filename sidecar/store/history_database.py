"""The history of handshakes in SQLite: written in batches, read in pages, newest first."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec.structs import astuple

from sidecar.handshakes import (
    HandshakeFilter,
    HandshakeKey,
    HandshakeRecord,
    PeerDirection,
    PeerTotals,
)
from sidecar.store import history_peers, last_successes
from sidecar.store.history_share import IN_VAIN, share_in_vain

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
    last_successes.MIGRATION,
)
_FIELDS = HandshakeRecord.__struct_fields__
_COLUMNS = ", ".join(_FIELDS)
# One row for a whole page: whoever reads row by row asks for the GIL as often, and a busy event
# loop lets go of it every five milliseconds. Traces are long, and no list shows them.
_LISTED = ", ".join("NULL" if name == "trace" else name for name in _FIELDS)
_PAGE = (
    f"SELECT json_group_array(json_array(id, json_array({_LISTED}))) FROM"  # noqa: S608 # same
    f" (SELECT id, {_COLUMNS} FROM handshake WHERE %s ORDER BY id DESC LIMIT ?)"
)
_INSERT = (
    f"INSERT INTO handshake (id, {_COLUMNS}, local, peer)"  # noqa: S608 # names of our own
    f" VALUES ({', '.join('?' * (len(_FIELDS) + 3))})"
)
# An index is written again for each of its columns that is named, changed or not.
_CHANGING = [n for n in _FIELDS if n not in ("sender", "target", "stream", "started_ms")]
_changing = attrgetter(*_CHANGING)
_UPDATE = f"UPDATE handshake SET {' = ?, '.join(_CHANGING)} = ? WHERE id = ?"  # noqa: S608
_FIND = (
    "WITH new (stream, sender, target, incoming, since_ms) AS (VALUES %s)"  # noqa: S608
    f" SELECT id, {', '.join(f'handshake.{name}' for name in _FIELDS)}"
    " FROM new CROSS JOIN handshake ON id = (SELECT id FROM handshake AS same"
    " WHERE same.stream = new.stream AND same.sender = new.sender AND same.target = new.target"
    " AND (same.role = 'receiving') = new.incoming AND same.updated_ms >= new.since_ms"
    " ORDER BY id DESC LIMIT 1)"
)
_LAST_NUMBER = "SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = 'handshake'"
_FOUND_AT_ONCE = 32
_SAME_HANDSHAKE_MS = 3_600_000
"""A stream ID seen again later than this is another stream: peers choose them for our keys. Only
the end of a stream may come at any time."""


class StoredHandshake(NamedTuple):
    """A record and its number: the later it began to be known, the higher."""

    number: int
    record: HandshakeRecord


_page = msgspec.json.Decoder(list[StoredHandshake])


class HistoryDatabase:
    """One connection to one file of mode 0600. Its methods raise sqlite3.Error and block.

    `count` is how many handshakes there are, as far as this connection has written them.
    """

    def __init__(self, path: Path) -> None:
        """Open or create it. Raises OSError, sqlite3.Error."""
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            # What a power cut takes of the history is not worth a wait for the disk.
            for pragma in ("journal_mode = WAL", "synchronous = OFF", "busy_timeout = 5000"):
                self._database.execute(f"PRAGMA {pragma}")
            self._migrate()
            (count,) = self._database.execute("SELECT COUNT(*) FROM handshake").fetchone()
            self.count = int(count)
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

    def write(self, records: Sequence[HandshakeRecord]) -> list[StoredHandshake]:
        """Add records, each to the one of the same handshake if there is one; return them whole."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            known = self._find(records)
            (number,) = self._database.execute(_LAST_NUMBER).fetchone()
            stored, added, changed, taken_back = [], [], [], []
            for record in records:
                same = known.get(record.key)
                if same is None:
                    number += 1
                    stored.append(StoredHandshake(number, record))
                    added.append((number, *astuple(record), record.local, record.peer))
                else:
                    had_got_through = same.record.got_through
                    same.record.add(record)
                    if had_got_through and not same.record.got_through:
                        taken_back.append(same.record)
                    stored.append(same)
                    changed.append((*_changing(same.record), same.number))
            self._database.executemany(_INSERT, added)
            self._database.executemany(_UPDATE, changed)
            last_successes.note(self._database, dict(stored), taken_back)
            self._database.execute("COMMIT")
            self.count += len(added)
        finally:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
        return stored

    def _find(self, records: Sequence[HandshakeRecord]) -> dict[HandshakeKey, StoredHandshake]:
        """Return what is stored already of the same handshakes."""
        found = {}
        for start in range(0, len(records), _FOUND_AT_ONCE):
            some = records[start : start + _FOUND_AT_ONCE]
            values: list[object] = []
            for new in some:
                since_ms = 0 if new.outcome == "closed" else new.started_ms - _SAME_HANDSHAKE_MS
                values += (new.stream, new.sender, new.target, new.incoming, since_ms)
            rows = self._database.execute(
                _FIND % ", ".join(["(?, ?, ?, ?, ?)"] * len(some)), values
            )
            for number, *fields in rows:
                record = HandshakeRecord(*fields)
                found[record.key] = StoredHandshake(number, record)
        return found

    def page(self, wanted: HandshakeFilter, limit: int) -> list[StoredHandshake]:
        """Return up to `limit` handshakes without their traces, newest first."""
        conditions, values = _where(wanted)
        (found,) = self._database.execute(_PAGE % conditions, (*values, limit)).fetchone()
        try:
            return _page.decode(found)
        except msgspec.DecodeError as error:
            raise sqlite3.DatabaseError("the history holds what was never written") from error

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
        self._database.execute("BEGIN")  # several questions, of one and the same history
        try:
            return history_peers.peers(
                self._database, after, limit, locals_, needing_dialback=needing_dialback
            )
        finally:
            self._database.execute("COMMIT")

    def peer_totals(self, locals_: Sequence[str] | None = None) -> PeerTotals:
        """Count peers, and those that need dialback."""
        return history_peers.totals(self._database, locals_)

    def prune(self, *, keep: int, started_before_ms: int) -> None:
        """Forget what began before a time, and all but `keep`: the oldest go first, but before all
        those that strangers caused in vain beyond their share."""
        self._delete("started_ms < ?", started_before_ms)
        if self.count > keep:
            (in_vain,) = self._database.execute(
                f"SELECT COUNT(*) FROM handshake WHERE {IN_VAIN}"  # noqa: S608 # text of our own
            ).fetchone()
            too_many = min(self.count - keep, in_vain - share_in_vain(keep))
            if too_many > 0:
                oldest = f"SELECT id FROM handshake WHERE {IN_VAIN} ORDER BY id LIMIT ?"  # noqa: S608
                self._delete(f"id IN ({oldest})", too_many)
        if self.count > keep:
            self._delete("id <= (SELECT id FROM handshake ORDER BY id DESC LIMIT 1 OFFSET ?)", keep)
        last_successes.forget(self._database)

    def _delete(self, condition: str, value: int) -> None:
        deleted = self._database.execute(
            f"DELETE FROM handshake WHERE {condition}",  # noqa: S608 # text of our own
            (value,),
        )
        self.count -= deleted.rowcount

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
        # With both, the peer's handshakes are the fewer.
        ("+outcome = ?" if wanted.peer else "outcome = ?", wanted.outcome),
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
