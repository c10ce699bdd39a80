"""What the history says of peers: how each got through last, in which direction, and how often.

A handshake got through when a check of ours was valid, or when our server reported that the peer
took us: a key that was asked about says less, as a peer may still refuse.
"""

# ruff: noqa: S608 # every part of the queries' text is our own

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from sidecar.handshakes import PeerDirection, PeerTotals, Success

_THROUGH = "CASE WHEN role = 'receiving' THEN outcome IS 'valid' ELSE reported IS 'valid' END"
# SQLite takes the other columns from the row that has the maximum.
_LAST_SUCCESSES = (
    "SELECT peer, role = 'receiving' AS incoming, local, MAX(id), updated_ms, mechanism,"
    f" evidence, external, certificate, verify_us FROM handshake WHERE {_THROUGH} AND %s"
    " GROUP BY peer, incoming, local"
)
_COUNTS = (
    "SELECT peer, role = 'receiving' AS incoming, COUNT(*), SUM(outcome IS 'valid'),"
    " SUM(outcome IS 'invalid'), SUM(outcome IS 'error'),"
    f" SUM({_THROUGH} AND mechanism = 'dialback'), SUM({_THROUGH} AND mechanism = 'external'),"
    " MAX(updated_ms) FROM handshake WHERE %s GROUP BY peer, incoming ORDER BY peer, incoming DESC"
)
# The + keeps SQLite from going through all failures there are instead of those of some peers.
_LAST_FAILURES = (
    "SELECT peer, role = 'receiving' AS incoming, MAX(id), updated_ms,"
    " COALESCE(reason, condition, outcome) FROM handshake"
    " WHERE +outcome IN ('invalid', 'error') AND %s GROUP BY peer, incoming"
)
_PEERS = "SELECT DISTINCT peer FROM handshake WHERE %s ORDER BY peer LIMIT ?"
_NEEDING = (
    f"SELECT DISTINCT peer FROM ({_LAST_SUCCESSES}) WHERE mechanism = 'dialback'"
    " ORDER BY peer LIMIT ?"
)
_TOTALS = (
    "SELECT COUNT(*), SUM(incoming OR outgoing), SUM(incoming), SUM(outgoing) FROM"
    " (SELECT MAX(incoming AND mechanism = 'dialback') AS incoming,"
    " MAX(NOT incoming AND mechanism = 'dialback') AS outgoing"
    f" FROM ({_LAST_SUCCESSES}) GROUP BY peer)"
)


def peers(
    database: sqlite3.Connection,
    after: str,
    limit: int,
    locals_: Sequence[str] | None,
    *,
    needing_dialback: bool = False,
) -> list[PeerDirection]:
    """Return both directions of up to `limit` peers in order of name, from handshakes with
    `locals_` of ours (None: with all)."""
    where, values = _where(locals_)
    names = [
        row[0]
        for row in database.execute(
            (_NEEDING if needing_dialback else _PEERS) % f"{where} AND peer > ?",
            (*values, after, limit),
        )
    ]
    if not names:
        return []
    where += f" AND peer IN ({', '.join('?' * len(names))})"
    values += names
    found = {
        (row[0], row[1]): PeerDirection(row[0], bool(row[1]), *row[2:])
        for row in database.execute(_COUNTS % where, values)
    }
    for row in database.execute(_LAST_SUCCESSES % where, values):
        peer, incoming, local, _, at_ms, mechanism, evidence, external, certificate, asked = row
        success = Success(
            local, at_ms, mechanism, evidence, external, certificate, key_asked=asked is not None
        )
        found[peer, incoming].successes.append(success)
    for peer, incoming, _, at_ms, why in database.execute(_LAST_FAILURES % where, values):
        found[peer, incoming].failed_ms, found[peer, incoming].failed_why = at_ms, why
    return list(found.values())


def totals(database: sqlite3.Connection, locals_: Sequence[str] | None) -> PeerTotals:
    """Count the peers of handshakes with `locals_` of ours (None: with all)."""
    where, values = _where(locals_)
    (all_,) = database.execute(
        f"SELECT COUNT(DISTINCT peer) FROM handshake WHERE {where}",  # our own text
        values,
    ).fetchone()
    row = database.execute(_TOTALS % where, values).fetchone()
    return PeerTotals(all_, *(each or 0 for each in row))


def _where(locals_: Sequence[str] | None) -> tuple[str, list[Any]]:
    if locals_ is None:
        return "1", []
    return f"local IN ({', '.join('?' * len(locals_))})", [*locals_]
