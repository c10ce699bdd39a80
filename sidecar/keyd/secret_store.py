"""The secrets at rest: SQLite, full synchronisation, deleted content overwritten.

Every row is sealed as a whole (`sidecar.keyd.sealing`), also after its secret is gone.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sidecar.errors import SidecarError
from sidecar.keyd.migrations import check_schema, migrate
from sidecar.keyd.sealing import DamagedRow, Sealer
from sidecar.keys.lifecycle import VersionFacts

_COLUMNS = "id, domain, number, kind, created_ms, ends_ms, revoked_ms, removed_ms"
_GONE_KEPT = 16


class CannotCopy(SidecarError):
    """Nothing can be written where a copy of the store should go; the store is well."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.errno = number


class SecretStore:
    """One file of mode 0600. Its methods raise sqlite3.Error; changes happen in a `transaction`."""

    def __init__(self, path: Path) -> None:
        """Open or create it. Raises OSError, sqlite3.Error, NewerSchema. Then `unseal` it."""
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
        self.path = path
        self._database = sqlite3.connect(path, isolation_level=None)
        self.before_commit: Callable[[], None] | None = None
        self.added: list[tuple[str, int]] = []
        """(domain, number) of what the transaction added, in order."""
        self.destroyed: list[tuple[str, int]] = []
        """The same of what it destroyed."""
        self._sealer: Sealer | None = None
        try:
            # A rollback journal is erased with each commit; a write-ahead log would keep old
            # pages, and the secrets in them, for as long as it likes.
            for pragma in ("journal_mode = DELETE", "synchronous = EXTRA", "secure_delete = ON"):
                self._database.execute(f"PRAGMA {pragma}")
            self._schema = check_schema(self._database)
        except BaseException:
            self._database.close()
            raise

    @property
    def holds_sealed(self) -> bool:
        """Whether anything is sealed in it, so that its KEK must exist."""
        if self._schema < 2:
            return False
        (found,) = self._database.execute("SELECT EXISTS (SELECT 1 FROM version)").fetchone()
        return bool(found)

    def unseal(self, make_sealer: Callable[[str], Sealer]) -> None:
        """Bring the schema up to date, and seal from now on with `make_sealer(store id)`."""
        if self._schema == 0:
            migrate(self._database, _seal_nothing, up_to=1)
        if self.fact("store-id") is None:
            with self.transaction():
                self.set_fact("store-id", os.urandom(8).hex())
        self._sealer = make_sealer(self.store_id)
        migrate(self._database, self._sealer.seal)

    @property
    def database(self) -> sqlite3.Connection:
        """For what is stored beside the secrets, and changes in one transaction with them."""
        return self._database

    @property
    def store_id(self) -> str:
        return self.fact("store-id") or ""

    @property
    def sealer(self) -> Sealer:
        assert self._sealer is not None
        return self._sealer

    @sealer.setter
    def sealer(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def load(self) -> list[tuple[VersionFacts, bytes, int, int]]:
        """Return (facts, secret, uses, last use) of every version; a secret that is gone is empty.

        Raises DamagedRow, naming every row that is.
        """
        loaded, damaged = [], []
        rows = self._database.execute(
            f"SELECT {_COLUMNS}, sealed, COALESCE(uses, 0), COALESCE(last_use_ms, 0)"  # noqa: S608
            " FROM version LEFT JOIN usage ON version_id = id ORDER BY domain, number"
        )
        for *columns, sealed, uses, last_use_ms in rows:
            facts = VersionFacts(*columns)
            try:
                loaded.append((facts, self.sealer.open(facts, sealed), uses, last_use_ms))
            except DamagedRow as error:
                damaged.append(str(error))
        if damaged:
            raise DamagedRow("\n".join([f"{self.path}: damaged", *damaged]))
        return loaded

    def facts_of(self, domain: str) -> list[VersionFacts]:
        """Return what is known of the versions of one domain, gone ones too, by number."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM version WHERE domain = ? ORDER BY number",  # noqa: S608
            (domain,),
        )
        return [VersionFacts(*columns) for columns in rows]

    def domains_after(self, name: str, count: int) -> list[str]:
        """Return the next `count` sender domains in order of name."""
        rows = self._database.execute(
            "SELECT DISTINCT domain FROM version WHERE domain > ? ORDER BY domain LIMIT ?",
            (name, count),
        )
        return [domain for (domain,) in rows]

    def usage_of(self, version_id: int) -> tuple[int, int]:
        row = self._database.execute(
            "SELECT uses, last_use_ms FROM usage WHERE version_id = ?", (version_id,)
        ).fetchone()
        return row or (0, 0)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is done inside, or nothing of it; `before_commit` is a part of it."""
        self._database.execute("BEGIN IMMEDIATE")
        self.added.clear()
        self.destroyed.clear()
        try:
            yield
            if self.before_commit is not None:
                self.before_commit()
            self._database.execute("COMMIT")
        finally:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")

    def add(
        self, domain: str, kind: str, now_ms: int, secret: bytes, *, ends_ms: int | None = None
    ) -> VersionFacts:
        """Add the next version of a domain."""
        (number,) = self._database.execute(
            "SELECT COALESCE(MAX(number), 0) + 1 FROM version WHERE domain = ?", (domain,)
        ).fetchone()
        cursor = self._database.execute(
            "INSERT INTO version (domain, number, kind, created_ms, ends_ms, sealed)"
            " VALUES (?, ?, ?, ?, ?, x'')",
            (domain, number, kind, now_ms, ends_ms),
        )
        assert cursor.lastrowid is not None
        assert kind in ("ledger", "stateless")
        facts = VersionFacts(cursor.lastrowid, domain, number, kind, now_ms, ends_ms)  # type: ignore[arg-type]
        self._seal(facts, secret)
        self.added.append((domain, number))
        return facts

    def destroy(
        self, facts: VersionFacts, *, revoked_ms: int | None = None, removed_ms: int | None = None
    ) -> VersionFacts:
        """Destroy the secret of a version; of those that are gone, keep the last few rows."""
        gone = replace(facts, revoked_ms=revoked_ms, removed_ms=removed_ms)
        self._database.execute(
            "UPDATE version SET revoked_ms = ?, removed_ms = ?, sealed = ? WHERE id = ?",
            (revoked_ms, removed_ms, self.sealer.seal(gone, b""), facts.id),
        )
        self.destroyed.append((facts.domain, facts.number))
        old = [
            (each.id,)
            for each in self.facts_of(facts.domain)
            if each.revoked_ms is not None or each.removed_ms is not None
        ][:-_GONE_KEPT]
        self._database.executemany("DELETE FROM version WHERE id = ?", old)
        self._database.executemany("DELETE FROM usage WHERE version_id = ?", old)
        return gone

    def rewrap(self, count: int) -> int:
        """Seal up to `count` rows again that are not under the newest KEK; return how many."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS}, sealed FROM version"  # noqa: S608
            " WHERE substr(sealed, 1, 8) != ? LIMIT ?",
            (bytes.fromhex(self.sealer.kek_id), count),
        ).fetchall()
        for *columns, sealed in rows:
            facts = VersionFacts(*columns)
            self._seal(facts, self.sealer.open(facts, sealed))
        return len(rows)

    def save_usage(self, usage: list[tuple[int, int, int]]) -> None:
        """Note (version id, uses, last use)."""
        self._database.executemany("INSERT OR REPLACE INTO usage VALUES (?, ?, ?)", usage)

    def fact(self, name: str) -> str | None:
        row = self._database.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_fact(self, name: str, value: str | None) -> None:
        self._database.execute("DELETE FROM fact WHERE name = ?", (name,))
        if value is not None:
            self._database.execute("INSERT INTO fact VALUES (?, ?)", (name, value))

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy, still sealed, or nothing.

        Raises CannotCopy when it is the place of the copy that will not do, else sqlite3.Error.
        """
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise CannotCopy(error.errno or errno.EIO) from error
        try:
            copy = sqlite3.connect(path)
            try:
                self._database.backup(copy)
            finally:
                copy.close()
        except BaseException as error:
            path.unlink(missing_ok=True)
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise CannotCopy(errno.ENOSPC) from error  # the store itself is only read
            raise

    def close(self) -> None:
        self._database.close()

    def _seal(self, facts: VersionFacts, secret: bytes) -> None:
        self._database.execute(
            "UPDATE version SET sealed = ? WHERE id = ?",
            (self.sealer.seal(facts, secret), facts.id),
        )


def _seal_nothing(facts: VersionFacts, secret: bytes) -> bytes:
    raise AssertionError("the first step of the schema seals nothing")
