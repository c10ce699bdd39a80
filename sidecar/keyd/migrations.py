"""The schema of the secret store, as numbered steps; each is one transaction.

A step from a schema that held secrets in clear hands them to `seal`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from sidecar.errors import SidecarError
from sidecar.keys.lifecycle import VersionFacts

Seal = Callable[[VersionFacts, bytes], bytes]


class NewerSchema(SidecarError):
    """The store was written by a newer dialback-keyd."""


def _first(database: sqlite3.Connection, _: Seal) -> None:
    database.execute(
        "CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID"
    )
    database.execute(
        "CREATE TABLE version (id INTEGER PRIMARY KEY AUTOINCREMENT, domain TEXT NOT NULL,"
        " number INTEGER NOT NULL, created_ms INTEGER NOT NULL, secret BLOB NOT NULL,"
        " UNIQUE (domain, number)) STRICT"
    )


def _versions_and_sealing(database: sqlite3.Connection, seal: Seal) -> None:
    old = database.execute("SELECT id, domain, number, created_ms, secret FROM version").fetchall()
    database.execute("DROP TABLE version")
    database.execute(
        "CREATE TABLE version (id INTEGER PRIMARY KEY AUTOINCREMENT, domain TEXT NOT NULL,"
        " number INTEGER NOT NULL, kind TEXT NOT NULL, created_ms INTEGER NOT NULL,"
        " ends_ms INTEGER, revoked_ms INTEGER, removed_ms INTEGER, sealed BLOB NOT NULL,"
        " UNIQUE (domain, number)) STRICT"
    )
    database.execute(
        "CREATE TABLE usage (version_id INTEGER PRIMARY KEY, uses INTEGER NOT NULL,"
        " last_use_ms INTEGER NOT NULL) STRICT"
    )
    for version_id, domain, number, created_ms, secret in old:
        facts = VersionFacts(version_id, domain, number, "ledger", created_ms)
        database.execute(
            "INSERT INTO version (id, domain, number, kind, created_ms, sealed)"
            " VALUES (?, ?, ?, 'ledger', ?, ?)",
            (version_id, domain, number, created_ms, seal(facts, secret)),
        )


def _tokens(database: sqlite3.Connection, _: Seal) -> None:
    database.execute(
        "CREATE TABLE token (id TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, name TEXT NOT NULL,"
        " scopes TEXT NOT NULL, domains TEXT, created_ms INTEGER NOT NULL, expires_ms INTEGER,"
        " revoked_ms INTEGER, last_use_ms INTEGER) STRICT"
    )
    database.execute(
        "CREATE TABLE done (token_id TEXT NOT NULL, repeat_key TEXT NOT NULL,"
        " request BLOB NOT NULL, reply BLOB NOT NULL, at_ms INTEGER NOT NULL,"
        " PRIMARY KEY (token_id, repeat_key)) STRICT"
    )


def _policies(database: sqlite3.Connection, _: Seal) -> None:
    database.execute(
        "CREATE TABLE policy (domain TEXT PRIMARY KEY, rotate_ms INTEGER, max_entries INTEGER)"
        " STRICT, WITHOUT ROWID"
    )


MIGRATIONS = (_first, _versions_and_sealing, _tokens, _policies)


def check_schema(database: sqlite3.Connection) -> int:
    """Return the number of the last step that was taken. Raises NewerSchema, sqlite3.Error."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise NewerSchema(
            f"the secret store has schema {version}, this dialback-keyd knows up to "
            f"{len(MIGRATIONS)}: start the newer one that wrote it"
        )
    return int(version)


def migrate(database: sqlite3.Connection, seal: Seal, *, up_to: int = len(MIGRATIONS)) -> None:
    """Take the steps that are missing. Raises NewerSchema, sqlite3.Error.

    Killed between two steps, the next start goes on with the second.
    """
    done = check_schema(database)
    for number in range(done + 1, up_to + 1):
        database.execute("BEGIN IMMEDIATE")
        try:
            MIGRATIONS[number - 1](database, seal)
            database.execute(f"PRAGMA user_version = {number}")
            database.execute("COMMIT")
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")
