"""The last handshake of each domain pair and direction that got through, in a table of its own.

What would break without dialback is told from it, without a look at the whole history. Whatever
changes the history changes it too, a write in the same transaction.
"""

# ruff: noqa: S608 # every part of the queries' text is our own

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from sidecar.handshakes import HandshakeRecord

GOT_THROUGH = "CASE WHEN role = 'receiving' THEN outcome IS 'valid' ELSE reported IS 'valid' END"
"""The condition of a query that says of a stored record what `HandshakeRecord.got_through` says."""

_FIND = (
    "INSERT OR REPLACE INTO last_success SELECT peer, role = 'receiving' AS incoming, local,"
    f" MAX(id), mechanism FROM handshake WHERE {GOT_THROUGH} AND %s"
    " GROUP BY peer, incoming, local"
)
MIGRATION = (
    "CREATE TABLE last_success (peer TEXT NOT NULL, incoming INTEGER NOT NULL,"
    " local TEXT NOT NULL, id INTEGER NOT NULL, mechanism TEXT NOT NULL,"
    f" PRIMARY KEY (peer, incoming, local)) STRICT, WITHOUT ROWID; {_FIND % '1'};"
)
_PUT = (
    "INSERT INTO last_success VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
    " SET id = excluded.id, mechanism = excluded.mechanism WHERE excluded.id >= id"
)
_GONE = (
    "DELETE FROM last_success WHERE NOT EXISTS (SELECT 1 FROM handshake WHERE"
    " handshake.id = last_success.id) RETURNING peer, incoming, local"
)
_OF_ONE = "peer = ? AND (role = 'receiving') = ? AND local = ?"

_Pair = tuple[str, bool, str]
"""Peer, whether it is incoming, our domain."""


def note(
    database: sqlite3.Connection,
    records: Mapping[int, HandshakeRecord],
    taken_back: Iterable[HandshakeRecord],
) -> None:
    """Take in what was written, by number, and what had got through and has not any more."""
    through: dict[_Pair, tuple[int, str]] = {}
    for number, record in records.items():
        if record.got_through:
            pair = _pair(record)
            through[pair] = max(through.get(pair, (0, "")), (number, record.mechanism))
    database.executemany(_PUT, [(*pair, *last) for pair, last in through.items()])
    _find_again(database, [_pair(record) for record in taken_back])


def forget(database: sqlite3.Connection) -> None:
    """Follow the history, from which something was deleted."""
    _find_again(database, database.execute(_GONE).fetchall())


def _find_again(database: sqlite3.Connection, pairs: Sequence[_Pair]) -> None:
    database.executemany(
        "DELETE FROM last_success WHERE peer = ? AND incoming = ? AND local = ?", pairs
    )
    database.executemany(_FIND % _OF_ONE, pairs)


def _pair(record: HandshakeRecord) -> _Pair:
    return record.peer, record.incoming, record.local
