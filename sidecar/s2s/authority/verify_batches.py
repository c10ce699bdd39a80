"""Puts what connections ask in one turn of the event loop into few questions to the engine.

Networks take turns, and no more is asked at a time than is answered soon: whoever asks much waits
behind itself, and not others behind it. What may wait is bounded, each network has its share of
that, and what is beyond it is answered at once with an error.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from sidecar.engine import Engine
from sidecar.jobs import Condition, Verdict
from sidecar.protocol.authority_events import VerifyAsked

_VERIFY_SECONDS = 3.0
_TOGETHER = 256
"""Requests of one question to the engine, not counting what the last read brought too many."""
_UNDER_WAY = 512
_WAITING = 8_192
"""Requests that wait, where a few networks ask; with ever more networks, a few times as many."""
_OVERLOADED = Verdict.error(Condition.RESOURCE_CONSTRAINT, "too-many-requests")


class Asker(Protocol):
    """Whoever asked, and gets the verdicts in the order of its questions."""

    @property
    def network(self) -> str:
        """The network it is of, which has its turn."""

    def answer(self, asked: Sequence[VerifyAsked], verdicts: Sequence[Verdict]) -> None: ...


_Asked = tuple[Asker, Sequence[VerifyAsked]]


class _Queue(deque[_Asked]):
    """What waits of one network."""

    requests = 0


class VerifyBatches:
    """Takes questions, and hands back verdicts when they are there."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[str, _Queue] = {}
        self._under_way = 0
        self._called = False
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, asker: Asker, asked: Sequence[VerifyAsked]) -> int:
        """Have it answered; return how many requests were more than may wait, which are answered
        already."""
        queue = self._waiting.setdefault(asker.network, _Queue())
        room = max(1, _WAITING // len(self._waiting)) - queue.requests
        fitting, refused = asked[: max(0, room)], asked[max(0, room) :]
        if fitting:
            queue.append((asker, fitting))
            queue.requests += len(fitting)
            self._call()
        if refused:
            asker.answer(refused, [_OVERLOADED] * len(refused))
        return len(refused)

    def _call(self) -> None:
        if not self._called and self._under_way < _UNDER_WAY:
            self._called = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._called = False
        while self._waiting and self._under_way < _UNDER_WAY:
            batch, count = self._take()
            self._under_way += count
            task = asyncio.ensure_future(self._answer(batch, count))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _take(self) -> tuple[list[_Asked], int]:
        """The next questions, from each network in turn, and how many requests they are."""
        batch: list[_Asked] = []
        count = 0
        while self._waiting and count < _TOGETHER:
            network = next(iter(self._waiting))
            queue = self._waiting.pop(network)
            batch.append(queue.popleft())
            requests = len(batch[-1][1])
            queue.requests -= requests
            count += requests
            if queue:
                self._waiting[network] = queue  # behind the others
        return batch, count

    async def _answer(self, batch: Sequence[_Asked], count: int) -> None:
        questions = [each for _, asked in batch for each in asked]
        try:
            verdicts = await self._engine.verify_all(questions, timeout_seconds=_VERIFY_SECONDS)
        finally:
            self._under_way -= count
            if self._waiting:
                self._call()
        start = 0
        for asker, asked in batch:
            end = start + len(asked)
            asker.answer(asked, verdicts[start:end])
            start = end
