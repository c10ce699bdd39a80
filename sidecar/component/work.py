"""The requests of one link that are being answered: limits, deadlines, an orderly end."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from sidecar.component.admission import Admitted, AdmittedBatch
from sidecar.component.answerer import SLOW, Answerer, answer_one, answer_together, name_of
from sidecar.jobs import Check, Condition, Issue, Report, Verdict, Verify
from sidecar.names import DialbackKey
from sidecar.protocol.link_batch import RefusedRequest, render_answers
from sidecar.protocol.link_mac import LinkKey
from sidecar.protocol.link_replies import render_answer

_OVERLOAD = Verdict.error(Condition.RESOURCE_CONSTRAINT, "sidecar-overloaded")

Send = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one link. Checks take seconds and have a room of their own, so that a flood of
    them never keeps issue and verify out. `overtime_seconds` is how much longer than its timeout
    an answer may take before it is given up."""

    checks: int = 1024
    quick: int = 1024
    check_seconds: float = 12.0
    quick_seconds: float = 3.0
    overtime_seconds: float = 0.5


class Work:
    """Runs the answerer for each admitted request and sends what it says."""

    def __init__(
        self,
        answerer: Answerer,
        key: LinkKey,
        limits: Limits,
        clock: Callable[[], float],
        counts: Counter[str],
    ) -> None:
        self._answerer = answerer
        self._key = key
        self.limits = limits
        self._clock = clock
        self._counts = counts
        self._checks: set[asyncio.Task[None]] = set()
        self._quick: set[asyncio.Task[None]] = set()
        self._batches: dict[asyncio.Task[None], int] = {}
        """With the number of requests in each, which share the room of the quick ones."""
        self._reports: set[asyncio.Task[None]] = set()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._checks) + self._quick_now + len(self._reports)

    @property
    def _quick_now(self) -> int:
        return len(self._quick) + sum(self._batches.values())

    def take(self, request: Admitted, send: Send) -> None:
        """Start answering `request`; over a limit, answer so at once.

        When stopping, a check is left to the next sidecar: the module turns to it as soon as our
        stream ends. What takes milliseconds is still answered.
        """
        job = request.job
        limits = self.limits
        if isinstance(job, Check):
            pool, room, seconds = self._checks, limits.checks, limits.check_seconds
        elif isinstance(job, Report):
            pool, room, seconds = self._reports, limits.quick, limits.quick_seconds
        else:
            room = limits.quick - sum(self._batches.values())
            pool, seconds = self._quick, limits.quick_seconds
        if request.remaining_seconds is not None:
            seconds = min(seconds, request.remaining_seconds)
        if seconds <= 0:
            self._counts["expired"] += 1
        elif self._stopping and isinstance(job, Check):
            self._counts["dropped"] += 1
        elif len(pool) >= room:
            self._counts["overload"] += 1
            self._reply(request, _OVERLOAD, send)
        else:
            self._counts[name_of(job)] += 1
            task = asyncio.ensure_future(self._answer(request, seconds, send))
            pool.add(task)
            task.add_done_callback(pool.discard)

    def take_batch(self, batch: AdmittedBatch, send: Send) -> None:
        """Start answering what `batch` asks, together; what is over the limit is told so."""
        seconds = self.limits.quick_seconds
        if batch.remaining_seconds is not None:
            seconds = min(seconds, batch.remaining_seconds)
        if seconds <= 0:
            self._counts["expired"] += len(batch.requests)
            return
        answers: list[DialbackKey | Verdict | RefusedRequest] = []
        jobs: dict[int, Issue | Verify] = {}
        room = self.limits.quick - self._quick_now
        for place, asked in enumerate(batch.requests):
            if isinstance(asked, RefusedRequest):
                answers.append(asked)
            elif len(jobs) < room:
                answers.append(SLOW)  # until it is answered
                jobs[place] = asked
                self._counts[name_of(asked)] += 1
            else:
                answers.append(_OVERLOAD)
                self._counts["overload"] += 1
        task = asyncio.ensure_future(self._answer_batch(batch, answers, jobs, seconds, send))
        self._batches[task] = len(jobs)
        task.add_done_callback(self._batches.pop)

    def abandon(self) -> None:
        """The connection is gone, nobody waits for its answers. Reports are facts: they go on."""
        for task in [*self._checks, *self._quick, *self._batches]:
            task.cancel()

    async def finish(self, grace_seconds: float) -> None:
        """Take no more checks; let what runs be answered within `grace_seconds`, end the rest."""
        self._stopping = True
        running = [*self._checks, *self._quick, *self._batches, *self._reports]
        if running:
            _, late = await asyncio.wait(running, timeout=grace_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _answer(self, request: Admitted, seconds: float, send: Send) -> None:
        deadline = self._deadline(request)
        try:
            async with asyncio.timeout(seconds + self.limits.overtime_seconds):
                answer = await answer_one(self._answerer, request.job, seconds)
        except TimeoutError:
            answer = SLOW
        if self._clock() > deadline:
            self._counts["expired"] += 1
        else:
            self._reply(request, answer, send)

    async def _answer_batch(
        self,
        batch: AdmittedBatch,
        answers: list[DialbackKey | Verdict | RefusedRequest],
        jobs: dict[int, Issue | Verify],
        seconds: float,
        send: Send,
    ) -> None:
        """Put the answers to `jobs` in their places, and send them all."""
        deadline = self._deadline(batch)
        try:
            async with asyncio.timeout(seconds + self.limits.overtime_seconds):
                await answer_together(self._answerer, jobs, answers.__setitem__, seconds)
        except TimeoutError:
            pass  # what is there by now is sent
        if self._clock() > deadline:
            self._counts["expired"] += len(jobs)
        else:
            send(render_answers(answers, batch.address, batch.mac, self._key))

    def _deadline(self, request: Admitted | AdmittedBatch) -> float:
        """When nobody waits any more for the answer."""
        if request.remaining_seconds is None:
            return math.inf
        return self._clock() + request.remaining_seconds

    def _reply(self, request: Admitted, answer: DialbackKey | Verdict | None, send: Send) -> None:
        send(render_answer(answer, request.address, request.mac, self._key))
