"""The history of handshakes as the daemon has it: told of without waiting, written by a thread.

All that is told of one handshake within half a second becomes one write. When the disk cannot
keep up, or the database is locked or broken, the history has gaps; handshakes never wait for it.
A file that is no database any more is set aside, and a new one begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from sidecar.engine import Decision, Verified
from sidecar.handshakes import (
    HandshakeFilter,
    HandshakeKey,
    HandshakeRecord,
    PeerDirection,
    PeerTotals,
    of_decision,
    of_report,
)
from sidecar.jobs import ReportedOutcome
from sidecar.store.history_database import HistoryDatabase, StoredHandshake
from sidecar.store.history_share import RecordRate, failed, in_vain

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 0.5
_PRUNE_SECONDS = 60.0
_COMPLAIN_SECONDS = 60.0
_MS_PER_DAY = 86_400_000
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SUFFIXES = ("", "-wal", "-shm")

T = TypeVar("T")


class History:
    """Bounded by `days` and by `records`; with either 0 nothing is kept.

    `on_written` is called, in the event loop, with every record that was written or changed; also
    where nothing is kept or could be written, then with the number 0.
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
        self._opening = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._complained = -_COMPLAIN_SECONDS
        self._rate = RecordRate()
        self.lost = 0
        """Records that were not written: too many at once, or the disk failed."""
        self.fault = ""
        """Why nothing can be written now."""

    @property
    def enabled(self) -> bool:
        return self._days > 0 and self._records > 0

    async def start(self) -> None:
        """Open the database; one that does not open is tried again now and then.

        Disabled, it erases what there was; raises OSError when it cannot.
        """
        if not self.enabled:
            for suffix in _SUFFIXES:
                self._file(suffix).unlink(missing_ok=True)
        else:
            await self._reopen(None, None)
        self._task = asyncio.create_task(self._keep_writing(), name="history writer")

    async def _reopen(self, writer: HistoryDatabase | None, broken: sqlite3.Error | None) -> None:
        """Open the database in place of `writer`, unless somebody else has; a `broken` one anew."""
        async with self._opening:
            if self._writer is not writer:
                return
            try:
                await self._open(broken)
                self.fault = ""
            except (OSError, sqlite3.Error) as error:
                await self._close_databases()
                self._note_fault(error)
        await self.prune()

    async def _open(self, broken: sqlite3.Error | None) -> None:
        """Raises OSError, sqlite3.Error."""
        await self._close_databases()
        if broken is None:
            try:
                return await self._open_once()
            except sqlite3.DatabaseError as error:
                if not _is_broken(error):
                    raise
                broken = error
        await self._set_aside(broken)
        await self._open_once()

    async def _open_once(self) -> None:
        self._writer = await self._in(self._writing, lambda: HistoryDatabase(self._path))
        self._reader = await self._in(self._reading, lambda: HistoryDatabase(self._path))

    async def _set_aside(self, error: sqlite3.Error) -> None:
        """Keep what is broken under another name, for whoever wants to look. Raises OSError."""
        await self._close_databases()
        log.error("the history is broken: %s; it begins anew, see %s", error, self._file(".broken"))
        for suffix in _SUFFIXES:
            if self._file(suffix).exists():
                self._file(suffix).rename(self._file(f".broken{suffix}"))

    def _file(self, suffix: str) -> Path:
        return self._path.with_name(self._path.name + suffix)

    async def _close_databases(self) -> None:
        """Each in its own thread, after whatever runs there."""
        writer, reader, self._writer, self._reader = self._writer, self._reader, None, None
        if writer is not None:
            await self._in(self._writing, writer.close)
        if reader is not None:
            await self._in(self._reading, reader.close)

    async def close(self) -> None:
        """Write what is left, and end."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            await self.flush()
        await self._close_databases()
        self._writing.shutdown(wait=False)
        self._reading.shutdown(wait=False)

    def note_decision(self, decision: Decision) -> None:
        """Remember a job that was answered."""
        if self._task is not None:
            self._note(of_decision(decision, self._now_ms()))

    def note_verified(self, verified: Verified) -> None:
        """Remember verify requests answered together."""
        if self._task is None:
            return
        now_ms = self._now_ms()
        for question, verdict in zip(verified.asked, verified.verdicts, strict=True):
            pair, stream = question.pair, question.stream
            room = self._rate.has_room(in_vain=failed(verdict.outcome.value))
            if room or (False, *pair, stream) in self._pending:
                decision = Decision("verify", pair, stream, verdict, verified.seconds)
                self._note(of_decision(decision, now_ms))
            else:
                self.lost += 1

    def note_report(self, reported: ReportedOutcome) -> None:
        """Remember what our server learnt."""
        if self._task is not None:
            self._note(of_report(reported, self._now_ms()))

    async def flush(self) -> None:
        """Write what was told so far."""
        await self._write(None)

    async def _write(self, then: Callable[[HistoryDatabase], None] | None) -> None:
        """Write what was told so far, if anything, and then do `then` in the same thread."""
        pending, self._pending = list(self._pending.values()), {}
        writer = self._writer
        if not pending:
            return
        if writer is not None:
            try:
                step = partial(_write, writer, pending, then)
                self._on_written(await self._in(self._writing, step))
                self.fault = ""
                return
            except sqlite3.Error as error:
                self._note_fault(error)
                if _is_broken(error):
                    await self._reopen(writer, error)
        if self.enabled:
            self.lost += len(pending)
        self._on_written([StoredHandshake(0, record) for record in pending])

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
            self._note_fault(error)

    async def page(self, wanted: HandshakeFilter, limit: int) -> list[StoredHandshake]:
        """Return up to `limit` handshakes, newest first; what was told by now is in it."""
        return await self._ask(lambda database: database.page(wanted, limit), [])

    async def get(self, number: int) -> HandshakeRecord | None:
        return await self._ask(lambda database: database.get(number), None)

    async def peers(
        self,
        after: str,
        limit: int,
        locals_: Sequence[str] | None = None,
        *,
        needing_dialback: bool = False,
    ) -> list[PeerDirection]:
        """Return both directions of up to `limit` peers in order of name."""
        await self.flush()
        return await self._read(
            lambda database: database.peers(
                after, limit, locals_, needing_dialback=needing_dialback
            ),
            [],
        )

    async def peer_totals(self, locals_: Sequence[str] | None = None) -> PeerTotals:
        await self.flush()
        return await self._read(
            lambda database: database.peer_totals(locals_), PeerTotals(0, 0, 0, 0, 0)
        )

    def count(self) -> int:
        """Return how many are kept; what is not yet written counts as a handshake of its own.

        Raises sqlite3.Error.
        """
        if self._writer is not None:
            return self._writer.count + len(self._pending)
        if self.enabled:
            raise sqlite3.OperationalError(self.fault)
        return 0

    def _note(self, record: HandshakeRecord) -> None:
        known = self._pending.get(record.key)
        if known is not None:
            known.add(record)
        elif self._rate.take(in_vain=in_vain(record)):
            self._pending[record.key] = record
        else:
            self.lost += 1

    async def _keep_writing(self) -> None:
        pruned = time.monotonic()
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            self._rate.refill(_FLUSH_SECONDS)
            await self.flush()
            if time.monotonic() - pruned >= _PRUNE_SECONDS:
                pruned = time.monotonic()
                await self.look_after()

    async def look_after(self) -> None:
        """Forget what is over the bounds; open again what could not be opened."""
        if self.enabled and self._writer is None:
            await self._reopen(None, None)
        else:
            await self.prune()

    def _note_fault(self, error: Exception) -> None:
        """Remember it for `status`, and tell it in the log, but not with every handshake."""
        self.fault = str(error)
        if time.monotonic() - self._complained >= _COMPLAIN_SECONDS:
            self._complained = time.monotonic()
            log.error("the history of handshakes has a gap: %s", error)

    async def _ask(self, question: Callable[[HistoryDatabase], T], otherwise: T) -> T:
        """Ask something quick; the thread that has to write before is asked at once.

        Raises sqlite3.Error.
        """
        answers: list[T] = []
        await self._write(lambda writer: answers.append(question(writer)))
        return answers[0] if answers else await self._read(question, otherwise)

    async def _read(self, question: Callable[[HistoryDatabase], T], otherwise: T) -> T:
        """Raises sqlite3.Error."""
        reader = self._reader
        if reader is None:
            if self.enabled:
                raise sqlite3.OperationalError(self.fault)
            return otherwise
        writer = self._writer
        try:
            return await self._in(self._reading, lambda: question(reader))
        except sqlite3.Error as error:
            if _is_broken(error):
                self._note_fault(error)
                await self._reopen(writer, error)
            raise

    async def _in(self, executor: ThreadPoolExecutor, step: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, step)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _write(
    writer: HistoryDatabase,
    records: Sequence[HandshakeRecord],
    then: Callable[[HistoryDatabase], None] | None,
) -> list[StoredHandshake]:
    """Raises sqlite3.Error when nothing was written."""
    stored = writer.write(records)
    if then is not None:
        with contextlib.suppress(sqlite3.Error):  # the reader will find it, and tell
            then(writer)
    return stored


def _is_broken(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) in _BROKEN
