"""The rules about peers as the daemon has them: in memory for every handshake, on disk at once.

Rules that cannot be read are an outage: every question about a peer is answered with an error
until they can, never as if there were no rules.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sidecar.errors import PolicyUnavailable
from sidecar.jobs import Evidence
from sidecar.names import Domain
from sidecar.peer_policy import PeerPattern, PeerRule, RuleBook, Terms, Unchanged, terms_of
from sidecar.preconditions import Precondition
from sidecar.store.peer_rule_database import PeerRuleDatabase

log = logging.getLogger(__name__)

T = TypeVar("T")


class PeerRules:
    """`evidence` is what the configuration lets count where no rule says it. `clock`: seconds
    since 1970, by which rules expire."""

    def __init__(
        self,
        path: Path,
        evidence: Iterable[Evidence],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._without_rule = Terms(frozenset(evidence))
        self._clock = clock
        self._database: PeerRuleDatabase | None = None
        self._book: RuleBook | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="peer rules")
        self._changing = asyncio.Lock()
        self.fault = "not read yet"
        """Why the rules cannot be read; empty when they can."""

    async def open(self) -> None:
        """Read the rules, if that has not been possible so far. Never raises: see `fault`."""
        async with self._changing:
            if self._book is not None:
                return
            try:
                self._database, self._book = await self._in_thread(lambda: _open(self._path))
                self.fault = ""
            except (OSError, sqlite3.Error) as error:
                self.fault = f"{self._path}: {error}"
                log.error(
                    "the rules about peers cannot be read, so no peer is let in and no key is "
                    "issued: %s; put back a good copy, or remove the file and all rules with it, "
                    "then reload",
                    self.fault,
                )

    async def close(self) -> None:
        async with self._changing:
            if self._database is not None:
                await self._in_thread(self._database.close)
        self._thread.shutdown()

    def take_up(self, evidence: Iterable[Evidence]) -> None:
        """Another configuration: what counts where no rule says it."""
        self._without_rule = Terms(frozenset(evidence))

    def terms_for(self, peer: Domain) -> Terms:
        """Return what `peer` has to meet now. Raises PolicyUnavailable."""
        rule = self.book.rule_for(peer, self.now_ms())
        return self._without_rule if rule is None else terms_of(rule, self._without_rule.evidence)

    @property
    def book(self) -> RuleBook:
        """All rules. Raises PolicyUnavailable."""
        if self._book is None:
            raise PolicyUnavailable(f"the rules about peers cannot be read: {self.fault}")
        return self._book

    def now_ms(self) -> int:
        return int(self._clock() * 1000)

    async def put(self, rule: PeerRule, condition: Precondition) -> Unchanged | bool:
        """Store a rule in the place of the one with its pattern; it holds from now on.

        Returns whether there was none before. Raises PolicyUnavailable, and then nothing has
        changed.
        """
        is_new = False

        def change(book: RuleBook) -> RuleBook | Unchanged:
            nonlocal is_new
            is_new = book.get(rule.pattern) is None
            return book.with_rule(rule, condition)

        unchanged = await self._change(change, lambda database: database.put(rule))
        return is_new if unchanged is None else unchanged

    async def remove(self, pattern: PeerPattern, condition: Precondition) -> Unchanged | None:
        """Remove the rule with this pattern. Raises PolicyUnavailable as `put`."""
        return await self._change(
            lambda book: book.without(pattern, condition),
            lambda database: database.remove(pattern),
        )

    async def _change(
        self,
        change: Callable[[RuleBook], RuleBook | Unchanged],
        write: Callable[[PeerRuleDatabase], None],
    ) -> Unchanged | None:
        """Change the rules on disk, then in memory; both, also when the caller goes away."""

        async def both() -> Unchanged | None:
            async with self._changing:
                book = change(self.book)
                if isinstance(book, Unchanged):
                    return book
                await self._write(write)
                self._book = book
                return None

        return await asyncio.shield(both())

    async def _write(self, step: Callable[[PeerRuleDatabase], None]) -> None:
        database = self._database
        assert database is not None
        try:
            await self._in_thread(lambda: step(database))
        except sqlite3.Error as error:
            log.error("a rule about peers cannot be stored: %s", error)
            raise PolicyUnavailable(f"the rule cannot be stored: {error}") from error

    async def _in_thread(self, step: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, step)


def _open(path: Path) -> tuple[PeerRuleDatabase, RuleBook]:
    is_new = not path.exists()
    database = PeerRuleDatabase(path)
    try:
        book = RuleBook(database.read())
    except BaseException:
        database.close()
        raise
    if is_new:
        log.info("there are no rules about peers yet; they will be in %s", path)
    return database, book
