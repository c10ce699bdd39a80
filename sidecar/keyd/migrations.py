"""The schema of the secret store, as numbered steps; each is one transaction."""

from __future__ import annotations

import sqlite3

from sidecar.errors import SidecarError

MIGRATIONS = (
    # 1
    """
    CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE version (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        domain TEXT NOT NULL,
        number INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        secret BLOB NOT NULL,
        UNIQUE (domain, number)
    ) STRICT;
    """,
)


class NewerSchema(SidecarError):
    """The store was written by a newer dialback-keyd."""


def migrate(database: sqlite3.Connection) -> None:
    """Bring the schema up to date. Raises NewerSchema, sqlite3.Error.

    Killed between two steps, the next start goes on with the second.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise NewerSchema(
            f"the secret store has schema {version}, this dialback-keyd knows up to "
            f"{len(MIGRATIONS)}: start the newer one that wrote it"
        )
    for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
        try:
            database.executescript(
                f"BEGIN IMMEDIATE; {step}; PRAGMA user_version = {number}; COMMIT"
            )
        except sqlite3.Error:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
