"""The history of handshakes as the daemon has it: told of without waiting, written by a thread.

All that is told of one handshake within half a second becomes one write. When the disk cannot
keep up, the history has gaps; handshakes never wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sidecar.engine import Decision
from sidecar.handshakes import (
    HandshakeFilter,
    HandshakeKey,
    HandshakeRecord,
    PeerSummary,
    of_decision,
    of_report,
)
from sidecar.jobs import ReportedOutcome
from sidecar.store.history_database import HistoryDatabase, StoredHandshake

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 0.5
_PRUNE_SECONDS = 60.0
_MS_PER_DAY = 86_400_000
_MAX_PENDING = 20_000

T = TypeVar("T")


class History:
    """Bounded by `days` and by `records`; with either 0 nothing is kept.

    `on_written` is called, in the event loop, with every record that was written or changed; also
    where nothing is kept, then with the number 0.
    """

    def __init__(
        self,
        path: Path,
        *,
        days: int,
        records: int,
        clock: Callable[[], float] = time.time,
        on_written: Callable[[Sequence[StoredHandshake]], None] = lambda _: None,
    ) -> None:
        self._path = path
        self._days = days
        self._records = records
        self._clock = clock
        self._on_written = on_written
        self._pending: dict[HandshakeKey, HandshakeRecord] = {}
        self._writer: HistoryDatabase | None = None
        self._reader: HistoryDatabase | None = None
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="history writer")
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="history reader")
        self._task: asyncio.Task[None] | None = None
        self.lost = 0
        """Records that were not written: the disk was too slow, or failed."""

    @property
    def enabled(self) -> bool:
        return self._days > 0 and self._records > 0

    async def start(self) -> None:
        """Open the database. Raises OSError, sqlite3.Error. Disabled, it erases what there was."""
        if not self.enabled:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        else:
            await self._open()
        self._task = asyncio.create_task(self._keep_writing(), name="history writer")

    async def _open(self) -> None:
        self._writer = await self._in(self._writing, lambda: HistoryDatabase(self._path))
        self._reader = await self._in(self._reading, lambda: HistoryDatabase(self._path))
        await self.prune()

    async def close(self) -> None:
        """Write what is left, and end."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            await self.flush()
        for database in (self._writer, self._reader):
            if database is not None:
                database.close()
        self._writer = self._reader = None
        self._writing.shutdown(wait=False)
        self._reading.shutdown(wait=False)

    def note_decision(self, decision: Decision) -> None:
        """Remember a job that was answered."""
        if self._task is not None:
            self._note(of_decision(decision, self._now_ms()))

    def note_report(self, reported: ReportedOutcome) -> None:
        """Remember what our server learnt."""
        if self._task is not None:
            self._note(of_report(reported, self._now_ms()))

    async def flush(self) -> None:
        """Write what was told so far."""
        pending, self._pending = list(self._pending.values()), {}
        writer = self._writer
        if not pending:
            return
        if writer is None:
            self._on_written([StoredHandshake(0, record) for record in pending])
            return
        try:
            self._on_written(await self._in(self._writing, lambda: writer.write(pending)))
        except sqlite3.Error as error:
            self.lost += len(pending)
            log.error("the history lost %d handshakes: %s", len(pending), error)

    async def prune(self) -> None:
        """Forget what is over the bounds."""
        writer = self._writer
        if writer is None:
            return
        oldest_ms = self._now_ms() - self._days * _MS_PER_DAY
        try:
            await self._in(
                self._writing, lambda: writer.prune(keep=self._records, started_before_ms=oldest_ms)
            )
        except sqlite3.Error as error:
            log.error("the history cannot forget: %s", error)

    async def page(self, wanted: HandshakeFilter, limit: int) -> list[StoredHandshake]:
        """Return up to `limit` handshakes, newest first; what was told by now is in it."""
        await self.flush()
        return await self._read(lambda database: database.page(wanted, limit), [])

    async def get(self, number: int) -> HandshakeRecord | None:
        await self.flush()
        return await self._read(lambda database: database.get(number), None)

    async def peers(
        self, after: str, limit: int, locals_: Sequence[str] | None = None
    ) -> list[PeerSummary]:
        """Return up to `limit` peers in order of name."""
        await self.flush()
        return await self._read(lambda database: database.peers(after, limit, locals_), [])

    async def count(self) -> int:
        await self.flush()
        return await self._read(lambda database: database.count, 0)

    def _note(self, record: HandshakeRecord) -> None:
        known = self._pending.get(record.key)
        if known is not None:
            known.add(record)
        elif len(self._pending) < _MAX_PENDING:
            self._pending[record.key] = record
        else:
            self.lost += 1

    async def _keep_writing(self) -> None:
        pruned = time.monotonic()
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            await self.flush()
            if time.monotonic() - pruned >= _PRUNE_SECONDS:
                pruned = time.monotonic()
                await self.prune()

    async def _read(self, question: Callable[[HistoryDatabase], T], otherwise: T) -> T:
        reader = self._reader
        if reader is None:
            return otherwise
        return await self._in(self._reading, lambda: question(reader))

    async def _in(self, executor: ThreadPoolExecutor, step: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, step)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
