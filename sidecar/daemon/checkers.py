"""The checker in use, replaced as a whole when its configuration changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from sidecar.config import Config
from sidecar.jobs import Check, Verdict
from sidecar.peer_policy import Terms
from sidecar.s2s.checker import Checker

log = logging.getLogger(__name__)


class Checkers:
    """Checks that began with one configuration end with it."""

    def __init__(self, config: Config, make: Callable[[Config], Checker]) -> None:
        """Raises OSError when a certificate cannot be used."""
        self._make = make
        self._config = config
        self._current = _Counted(make(config))
        self._closing: set[asyncio.Task[None]] = set()

    async def check(self, check: Check, terms: Terms, *, timeout_seconds: float) -> Verdict:
        return await self._current.check(check, terms, timeout_seconds)

    def take_up(self, config: Config) -> None:
        """Check as `config` says from now on. Raises OSError, and then nothing has changed."""
        if (config.check, config.certificate) == (self._config.check, self._config.certificate):
            return
        old, self._current = self._current, _Counted(self._make(config))
        self._config = config
        task = asyncio.create_task(old.close(), name="close a checker")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        for task in list(self._closing):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._current.checker.close()


class _Counted:
    """A checker that knows when nobody waits for it any more."""

    def __init__(self, checker: Checker) -> None:
        self.checker = checker
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def check(self, check: Check, terms: Terms, timeout_seconds: float) -> Verdict:
        self._running += 1
        self._idle.clear()
        try:
            return await self.checker.check(check, terms, timeout_seconds=timeout_seconds)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def close(self) -> None:
        try:
            await self._idle.wait()
        finally:
            await self.checker.close()
