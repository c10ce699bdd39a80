"""Puts what all connections ask in one turn of the event loop into one question to the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from sidecar.engine import Engine
from sidecar.jobs import Verdict
from sidecar.protocol.authority_events import VerifyAsked

_VERIFY_SECONDS = 3.0


class Asker(Protocol):
    """Whoever asked, and gets the verdicts in the order of its questions."""

    def answer(self, asked: Sequence[VerifyAsked], verdicts: Sequence[Verdict]) -> None: ...


class Desk:
    """Takes questions, and hands back verdicts when they are there."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: list[tuple[Asker, Sequence[VerifyAsked]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, asker: Asker, asked: Sequence[VerifyAsked]) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._begin)
        self._waiting.append((asker, asked))

    def _begin(self) -> None:
        waiting, self._waiting = self._waiting, []
        task = asyncio.ensure_future(self._answer(waiting))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, waiting: Sequence[tuple[Asker, Sequence[VerifyAsked]]]) -> None:
        questions = [each for _, asked in waiting for each in asked]
        verdicts = await self._engine.verify_all(questions, timeout_seconds=_VERIFY_SECONDS)
        start = 0
        for asker, asked in waiting:
            end = start + len(asked)
            asker.answer(asked, verdicts[start:end])
            start = end
