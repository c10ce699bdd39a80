"""The secrets at rest: SQLite, full synchronisation, deleted content overwritten."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from sidecar.keyd.migrations import migrate
from sidecar.keys.dialback_key import SECRET_BYTES, KeyMaker
from sidecar.keys.keyring import SecretVersion

_CLEAN_STOP = "clean-stop"


class SecretStore:
    """One file of mode 0600. A method that writes is one transaction; it raises sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        """Open or create it. Raises OSError, sqlite3.Error, NewerSchema."""
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
        self._database = sqlite3.connect(path, isolation_level=None)
        try:
            # A rollback journal is erased with each commit; a write-ahead log would keep old
            # pages, and the secrets in them, for as long as it likes.
            for pragma in ("journal_mode = DELETE", "synchronous = EXTRA", "secure_delete = ON"):
                self._database.execute(f"PRAGMA {pragma}")
            migrate(self._database)
        except BaseException:
            self._database.close()
            raise

    def load(self) -> list[SecretVersion]:
        rows = self._database.execute(
            "SELECT id, domain, number, created_ms, secret FROM version ORDER BY domain, number"
        )
        return [
            SecretVersion(version_id, domain, number, created_ms, KeyMaker(secret))
            for version_id, domain, number, created_ms, secret in rows
        ]

    def create(self, domains: Sequence[str], now_ms: int) -> list[SecretVersion]:
        """Generate the first secret of each of these sender domains, all or none."""
        created = []
        with self._transaction():
            for domain in domains:
                secret = secrets.token_bytes(SECRET_BYTES)
                (version_id,) = self._database.execute(
                    "INSERT INTO version (domain, number, created_ms, secret) VALUES (?, 1, ?, ?)"
                    " RETURNING id",
                    (domain, now_ms, secret),
                ).fetchone()
                created.append(SecretVersion(version_id, domain, 1, now_ms, KeyMaker(secret)))
        return created

    def begin_run(self) -> bool:
        """Note that we run; return whether nothing can be missing from the ledger.

        That is so after a clean stop, and where no secret exists nothing was ever issued.
        """
        with self._transaction():
            (clean,) = self._database.execute(
                "SELECT EXISTS (SELECT 1 FROM fact WHERE name = ?)"
                " OR NOT EXISTS (SELECT 1 FROM version)",
                (_CLEAN_STOP,),
            ).fetchone()
            self._database.execute("DELETE FROM fact WHERE name = ?", (_CLEAN_STOP,))
        return bool(clean)

    def end_run(self, now_ms: int) -> None:
        """Note a clean stop."""
        with self._transaction():
            self._database.execute(
                "INSERT OR REPLACE INTO fact VALUES (?, ?)", (_CLEAN_STOP, str(now_ms))
            )

    def close(self) -> None:
        self._database.close()

    def _transaction(self) -> _Transaction:
        return _Transaction(self._database)


class _Transaction:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK when anything was raised, COMMIT included."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._database.execute("COMMIT")
        finally:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
