"""What the history says of peers: how each got through last, in which direction, and how often."""

# ruff: noqa: S608 # every part of the queries' text is our own

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from sidecar.handshakes import PeerDirection, PeerTotals, Success
from sidecar.store.last_successes import GOT_THROUGH

_COUNTS = (
    "SELECT peer, role = 'receiving' AS incoming, COUNT(*), SUM(outcome IS 'valid'),"
    " SUM(outcome IS 'invalid'), SUM(outcome IS 'error'),"
    f" SUM({GOT_THROUGH} AND mechanism = 'dialback'),"
    f" SUM({GOT_THROUGH} AND mechanism = 'external'), MAX(updated_ms),"
    " MAX(CASE WHEN outcome IN ('invalid', 'error') THEN id END) FROM handshake WHERE %s"
    " GROUP BY peer, incoming ORDER BY peer, incoming DESC"
)
_LAST_SUCCESSES = (
    "SELECT peer, role = 'receiving', local, updated_ms, mechanism, evidence, external,"
    " certificate, verify_us FROM handshake WHERE id IN (SELECT id FROM last_success WHERE %s)"
    " ORDER BY local"
)
_FAILURES = (
    "SELECT peer, role = 'receiving', updated_ms, COALESCE(reason, condition, outcome)"
    " FROM handshake WHERE id IN (%s)"
)
_PEERS = "SELECT DISTINCT peer FROM handshake WHERE %s ORDER BY peer LIMIT ?"
_NEEDING = (
    "SELECT DISTINCT peer FROM last_success WHERE mechanism = 'dialback' AND %s"
    " ORDER BY peer LIMIT ?"
)
_TOTALS = (
    "SELECT COUNT(*), SUM(incoming OR outgoing), SUM(incoming), SUM(outgoing) FROM"
    " (SELECT MAX(incoming AND mechanism = 'dialback') AS incoming,"
    " MAX(NOT incoming AND mechanism = 'dialback') AS outgoing"
    " FROM last_success WHERE %s GROUP BY peer)"
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
    where += f" AND peer IN ({_places(names)})"
    values += names
    found, failures = {}, []
    for peer, incoming, *counts, failure in database.execute(_COUNTS % where, values):
        found[peer, incoming] = PeerDirection(peer, bool(incoming), *counts)
        if failure is not None:
            failures.append(failure)
    for row in database.execute(_LAST_SUCCESSES % where, values):
        peer, incoming, local, at_ms, mechanism, evidence, external, certificate, asked = row
        success = Success(
            local, at_ms, mechanism, evidence, external, certificate, key_asked=asked is not None
        )
        found[peer, incoming].successes.append(success)
    for peer, incoming, at_ms, why in database.execute(_FAILURES % _places(failures), failures):
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
    return f"local IN ({_places(locals_)})", [*locals_]


def _places(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
