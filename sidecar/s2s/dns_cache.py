"""What DNS said, for as long as it said it may be believed (RFC 2181 §8), and who is asking now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sidecar.s2s.failures import Failure

Question = tuple[str, str]
"""Name and record type."""

_MAX_ENTRIES = 8192
_MAX_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The records of one question, or why there are none; good for `ttl_seconds`."""

    records: tuple[Any, ...] | Failure
    ttl_seconds: float


class DnsCache:
    """Answers by question. One that is being asked is not asked again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[Question, tuple[float, Answer]] = {}
        self._asking: dict[Question, asyncio.Future[Answer]] = {}

    def get(self, question: Question) -> Answer | None:
        """The answer that is still good, if there is one."""
        found = self._known.get(question)
        if found is None:
            return None
        until, answer = found
        if until > self._clock():
            return answer
        del self._known[question]
        return None

    def ask(
        self, question: Question, start: Callable[[], asyncio.Future[Answer]]
    ) -> asyncio.Future[Answer]:
        """The answer to come; `start` asks for it, unless somebody has already."""
        asking = self._asking.get(question)
        if asking is None:
            asking = self._asking[question] = start()
            asking.add_done_callback(lambda future: self._learn(question, future))
        return asking

    def _learn(self, question: Question, future: asyncio.Future[Answer]) -> None:
        self._asking.pop(question, None)
        if future.cancelled() or future.exception() is not None:
            return
        answer = future.result()
        if answer.ttl_seconds <= 0:
            return
        if len(self._known) >= _MAX_ENTRIES:
            self._make_room()
        until = self._clock() + min(answer.ttl_seconds, _MAX_SECONDS)
        self._known[question] = (until, answer)

    def _make_room(self) -> None:
        """Forget what is no longer good, and the oldest quarter if everything is."""
        now = self._clock()
        good = [item for item in self._known.items() if item[1][0] > now]
        self._known = dict(good if len(good) < _MAX_ENTRIES else good[_MAX_ENTRIES // 4 :])
