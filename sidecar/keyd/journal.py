"""The ledger's journal: one SQLite file per minute, one row per commit, dropped whole.

A row holds the records of one batch (`sidecar.keys.entry.record`). What is committed survives
the end of the process, however it ends. After a power failure the last seconds can be missing:
then keyd answers `error`, not `invalid`, for keys it may have forgotten.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sidecar.errors import SidecarError
from sidecar.keys.entry import record
from sidecar.keys.limits import SEGMENT_MS

_NAME = "{:015d}.sqlite3"


class DamagedSegment(SidecarError):
    """A segment file is not what was written."""


class Journal:
    """Appends to the segment file of the current minute."""

    def __init__(self, directory: Path) -> None:
        """Create the directory where it is missing. Raises OSError."""
        directory.mkdir(mode=0o700, exist_ok=True)
        self._directory = directory
        self._database: sqlite3.Connection | None = None
        self._start_ms = -1
        self._files = sorted(directory.glob("[0-9]*.sqlite3"))

    def read(self, from_ms: int) -> Iterator[bytes]:
        """Yield the records of every batch, oldest first, from the segment of `from_ms` on.

        Raises DamagedSegment, and has then set that file aside: another `read` goes without it.
        """
        for path in list(self._files):
            if _start_of(path) + SEGMENT_MS <= from_ms:
                continue
            try:
                with closing(_open(path)) as database:
                    for (records,) in database.execute("SELECT records FROM batch ORDER BY id"):
                        if len(records) % record.size:
                            raise sqlite3.DatabaseError("a batch is cut short")
                        yield records
            except sqlite3.Error as error:
                path.replace(path.with_suffix(".damaged"))
                self._files.remove(path)
                raise DamagedSegment(f"{path}: {error}") from error

    def latest_ms(self) -> int:
        """Return the time of the last record; 0 where there is none, or it cannot be read."""
        for path in reversed(self._files):
            try:
                with closing(_open(path)) as database:
                    row = database.execute(
                        "SELECT records FROM batch ORDER BY id DESC LIMIT 1"
                    ).fetchone()
            except sqlite3.Error:
                continue
            if row is not None and len(row[0]) >= record.size:
                return int(record.unpack(row[0][-record.size :])[-1])
        return 0

    def append(self, records: bytes, now_ms: int) -> None:
        """Commit the records of one batch. Raises sqlite3.Error, OSError: then none is written."""
        start_ms = now_ms - now_ms % SEGMENT_MS
        if self._database is None or start_ms != self._start_ms:
            self._turn_to(start_ms)
        assert self._database is not None
        self._database.execute("INSERT INTO batch (records) VALUES (?)", (records,))

    def discard(self) -> None:
        """Remove everything. Raises OSError."""
        self.close()
        self.drop(1 << 62)

    def drop(self, before_ms: int) -> None:
        """Remove the files of segments that start earlier. Raises OSError."""
        while self._files and _start_of(self._files[0]) < before_ms:
            for suffix in ("-wal", ""):
                Path(f"{self._files[0]}{suffix}").unlink(missing_ok=True)
            del self._files[0]

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _turn_to(self, start_ms: int) -> None:
        self.close()
        path = self._directory / _NAME.format(start_ms)
        database = _open(path)
        try:
            database.execute(
                "CREATE TABLE IF NOT EXISTS batch (id INTEGER PRIMARY KEY, records BLOB NOT NULL)"
                " STRICT"
            )
        except sqlite3.Error:
            database.close()
            raise
        self._database, self._start_ms = database, start_ms
        if path not in self._files:
            self._files.append(path)


def _start_of(path: Path) -> int:
    return int(path.name.split(".")[0])


def _open(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path, isolation_level=None)
    try:
        # Exclusive: no shared-memory file, no lock calls. NORMAL: the file stays sound when
        # power fails, only its tail is lost. Small pages: a commit of one record writes one.
        for pragma in (
            "page_size = 1024",
            "locking_mode = EXCLUSIVE",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            "wal_autocheckpoint = 4000",
        ):
            database.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        database.close()
        raise
    return database
