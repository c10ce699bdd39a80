"""The rules about peers in SQLite: few, small, and on the disk before they are answered.

A file of its own beside the history: the history may be lost or deleted, these must not be.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import msgspec

from sidecar.errors import InvalidValue
from sidecar.jobs import Evidence
from sidecar.peer_policy import Action, PeerPattern, PeerRule
from sidecar.pkix.pins import read_pin

_FIRST = """
CREATE TABLE rule (
    pattern TEXT PRIMARY KEY, action TEXT NOT NULL, require_encryption INTEGER NOT NULL,
    evidence TEXT, pins TEXT NOT NULL, reason TEXT NOT NULL, expires_ms INTEGER,
    changed_ms INTEGER NOT NULL, changed_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""
_MIGRATIONS = (_FIRST,)
_COLUMNS = (
    "pattern, action, require_encryption, evidence, pins, reason, expires_ms, changed_ms,"
    " changed_by"
)
_names = msgspec.json.Decoder(list[str])


class PeerRuleDatabase:
    """One connection to one file of mode 0600. Its methods block, and raise sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        """Open or create it. Raises OSError, sqlite3.Error; also for a file that is damaged."""
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("synchronous = FULL", "busy_timeout = 5000"):
                self._database.execute(f"PRAGMA {pragma}")
            (found,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
            self._migrate()
        except BaseException:
            self._database.close()
            raise

    def _migrate(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version > len(_MIGRATIONS):
            raise sqlite3.DatabaseError(f"it has schema {version}, written by a newer daemon")
        for number, step in enumerate(_MIGRATIONS[version:], version + 1):
            self._database.executescript(
                f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {number}; COMMIT;"
            )

    def read(self) -> list[PeerRule]:
        """Return every rule. Raises sqlite3.DatabaseError for a row that is none."""
        rows = self._database.execute(f"SELECT {_COLUMNS} FROM rule").fetchall()  # noqa: S608
        try:
            return [_rule(row) for row in rows]
        except (InvalidValue, ValueError) as error:
            raise sqlite3.DatabaseError(f"a rule that cannot be read: {error}") from error

    def put(self, rule: PeerRule) -> None:
        """Store a rule in the place of the one with its pattern."""
        evidence = rule.evidence
        self._database.execute(
            f"INSERT OR REPLACE INTO rule ({_COLUMNS})"  # noqa: S608
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                str(rule.pattern),
                rule.action.value,
                rule.require_encryption,
                None if evidence is None else _list([each.value for each in evidence]),
                _list(rule.pins),
                rule.reason,
                rule.expires_ms,
                rule.changed_ms,
                rule.changed_by,
            ),
        )

    def remove(self, pattern: PeerPattern) -> None:
        self._database.execute("DELETE FROM rule WHERE pattern = ?", (str(pattern),))

    def close(self) -> None:
        self._database.close()


def _rule(row: tuple[str, str, int, str | None, str, str, int | None, int, str]) -> PeerRule:
    pattern, action, require_encryption, evidence, pins, reason, expires_ms, changed_ms, by = row
    return PeerRule(
        pattern=PeerPattern.parse(pattern),
        action=Action(action),
        require_encryption=bool(require_encryption),
        evidence=None if evidence is None else frozenset(map(Evidence, _names.decode(evidence))),
        pins=frozenset(map(read_pin, _names.decode(pins))),
        reason=reason,
        expires_ms=expires_ms,
        changed_ms=changed_ms,
        changed_by=by,
    )


def _list(names: object) -> str:
    return msgspec.json.encode(sorted(names)).decode()  # type: ignore[call-overload]
