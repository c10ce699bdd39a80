"""Who may check now, who waits, who is turned away: charged to the asking peer's prefix first.

A prefix that asks much waits for itself: rooms that become free go to the waiting prefixes by
turns. Claiming the name of another peer does not use up that peer's room either, because one
prefix gets only a part of the room of a sender domain.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TypeVar

from sidecar.names import Domain
from sidecar.s2s.failures import Reason

_Key = TypeVar("_Key")

_PREFIX_V4, _PREFIX_V6 = 24, 48


@dataclass(frozen=True, slots=True)
class GateLimits:
    """How many checks run or wait. A component link takes 1024 checks, running and waiting."""

    in_all: int = 256
    per_prefix: int = 48
    per_domain: int = 64
    per_domain_and_prefix: int = 16
    waiting: int = 640
    waiting_per_prefix: int = 160


class Gate:
    """Counts what runs and keeps what waits."""

    def __init__(self, limits: GateLimits) -> None:
        self._limits = limits
        self._running = 0
        self._by_prefix: Counter[str] = Counter()
        self._by_domain: Counter[Domain] = Counter()
        self._by_both: Counter[tuple[str, Domain]] = Counter()
        self._queues: dict[str, deque[tuple[Domain, asyncio.Future[None]]]] = {}
        self._waiting = 0

    def room(self, ip: str | None, sender: Domain) -> Room:
        return Room(self, prefix_of(ip), sender)

    async def enter(self, prefix: str, sender: Domain) -> bool:
        """Wait for room; False where even waiting has none."""
        if prefix not in self._queues and self._fits(prefix, sender):
            self._take(prefix, sender)
            return True
        return await self._wait(prefix, sender)

    async def _wait(self, prefix: str, sender: Domain) -> bool:
        queue = self._queues.get(prefix, deque())
        limits = self._limits
        if self._waiting >= limits.waiting or len(queue) >= limits.waiting_per_prefix:
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues[prefix] = queue
        queue.append((sender, turn))
        self._waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was our turn, and nobody is there
                self.leave(prefix, sender)
            else:
                self._forget(prefix, sender, turn)
            raise
        return True

    def _fits(self, prefix: str, sender: Domain) -> bool:
        limits = self._limits
        if self._running >= limits.in_all or self._by_prefix[prefix] >= limits.per_prefix:
            return False
        ours = self._by_both[prefix, sender]
        if ours >= limits.per_domain_and_prefix:
            return False
        # the last half is for prefixes that have nothing running for this name
        return self._by_domain[sender] < limits.per_domain * (1 if ours else 2)

    def _take(self, prefix: str, sender: Domain) -> None:
        self._running += 1
        self._by_prefix[prefix] += 1
        self._by_domain[sender] += 1
        self._by_both[prefix, sender] += 1

    def leave(self, prefix: str, sender: Domain) -> None:
        """Give back what `enter` has taken."""
        self._running -= 1
        _count_down(self._by_prefix, prefix)
        _count_down(self._by_domain, sender)
        _count_down(self._by_both, (prefix, sender))
        self._let_in()

    def _let_in(self) -> None:
        """Give free room to the first of each waiting prefix, by turns."""
        for prefix in list(self._queues):
            if self._running >= self._limits.in_all:
                return
            sender, turn = self._queues[prefix][0]
            if turn.cancelled() or not self._fits(prefix, sender):
                continue  # the cancelled one is about to leave by itself
            self._drop_first(prefix)
            self._take(prefix, sender)
            turn.set_result(None)

    def _drop_first(self, prefix: str) -> None:
        """Take the first out of a queue, and put the queue behind all others."""
        queue = self._queues.pop(prefix)
        queue.popleft()
        self._waiting -= 1
        if queue:
            self._queues[prefix] = queue

    def _forget(self, prefix: str, sender: Domain, turn: asyncio.Future[None]) -> None:
        queue = self._queues[prefix]
        queue.remove((sender, turn))
        self._waiting -= 1
        if not queue:
            del self._queues[prefix]
        self._let_in()


class Room:
    """The room of one check."""

    __slots__ = ("_gate", "_held", "_prefix", "_sender")

    def __init__(self, gate: Gate, prefix: str, sender: Domain) -> None:
        self._gate, self._prefix, self._sender = gate, prefix, sender
        self._held = False

    async def enter(self) -> Reason | None:
        """Wait for room and hold it; a reason instead where even waiting has none."""
        self._held = await self._gate.enter(self._prefix, self._sender)
        return None if self._held else Reason.TOO_MANY_CHECKS

    def leave(self) -> None:
        """Give it back, if it was held."""
        if self._held:
            self._held = False
            self._gate.leave(self._prefix, self._sender)


def _count_down(counter: Counter[_Key], key: _Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


@lru_cache(maxsize=4096)
def prefix_of(ip: str | None) -> str:
    """The network of an address that is charged as one: /24, or /48 of IPv6."""
    try:
        address = ip_address((ip or "").partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return prefix_of(str(address.ipv4_mapped))
        return str(ip_network((address, _PREFIX_V6), strict=False))
    return str(ip_network((address, _PREFIX_V4), strict=False))
