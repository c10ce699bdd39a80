"""What happens, as it happens: the last events are kept for those who come back.

An event's id is `START-NUMBER`. Whoever comes back with an id of an earlier start, or one that is
gone, is told by an event `gap` that something was missed.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

EventKind = Literal["handshake", "link", "secret", "domain", "policy", "alarm", "gap"]
_KEPT = 4096
_NUMBER = re.compile(r"[0-9]{1,18}\Z")


@dataclass(frozen=True, slots=True)
class Event:
    """`domain` is the domain of ours it is about, None for the whole daemon.

    `make` returns the content; nobody makes it as long as nobody listens.
    """

    id: str
    kind: EventKind
    domain: str | None
    make: Callable[[], msgspec.Struct | None] = lambda: None


_Kept = tuple[int, EventKind, str | None, Callable[[], msgspec.Struct]]
"""The number of an event and what else is to be known to make it."""


class Events:
    """`start` tells this run of the daemon from others."""

    def __init__(self, start: int, *, kept: int = _KEPT) -> None:
        self._start = start
        self._last = 0
        self._events: deque[_Kept] = deque(maxlen=kept)
        self._news: set[asyncio.Event] = set()

    def publish(self, kind: EventKind, content: msgspec.Struct, domain: str | None = None) -> None:
        """Tell everybody who listens."""
        self.publish_made(kind, lambda: content, domain)

    def publish_made(
        self, kind: EventKind, make: Callable[[], msgspec.Struct], domain: str | None
    ) -> None:
        """Tell everybody who listens, with content that is made for them only."""
        self._last += 1
        self._events.append((self._last, kind, domain, make))
        for news in self._news:
            news.set()

    def kept(self, kind: EventKind, domain: str) -> list[msgspec.Struct | None]:
        """The contents of the events of a kind about a domain, as far as they are kept."""
        return [
            make()
            for _, its_kind, about, make in self._events
            if (its_kind, about) == (kind, domain)
        ]

    async def follow(
        self, last_id: str | None, *, pause_seconds: float
    ) -> AsyncIterator[Sequence[Event]]:
        """Yield what happens from now on, or after `last_id`; nothing after a pause of silence."""
        seen, missed = self._after(last_id)
        news = asyncio.Event()
        self._news.add(news)
        try:
            if missed:
                yield [Event(f"{self._start}-{seen}", "gap", None)]
            while True:
                news.clear()
                oldest = self._events[0][0] if self._events else self._last + 1
                if seen + 1 < oldest and seen < self._last:
                    seen = oldest - 1
                    yield [Event(f"{self._start}-{seen}", "gap", None)]
                fresh = [
                    Event(f"{self._start}-{number}", kind, domain, make)
                    for number, kind, domain, make in self._events
                    if number > seen
                ]
                if fresh:
                    seen = self._last
                    yield fresh
                    continue
                try:
                    await asyncio.wait_for(news.wait(), pause_seconds)
                except TimeoutError:
                    yield []
        finally:
            self._news.discard(news)

    def _after(self, last_id: str | None) -> tuple[int, bool]:
        """Return the number seen last, and whether something was missed since."""
        if last_id is None:
            return self._last, False
        start, _, number = last_id.partition("-")
        if start != str(self._start) or not _NUMBER.match(number) or int(number) > self._last:
            return self._last, True
        return int(number), False
