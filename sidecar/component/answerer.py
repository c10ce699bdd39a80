"""What decides the requests of a link, and how the requests of a batch are put to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from sidecar.jobs import Condition, Issue, Job, Verdict, Verify
from sidecar.names import DialbackKey

log = logging.getLogger(__name__)

FAULT = Verdict.error(Condition.INTERNAL_SERVER_ERROR, "sidecar-fault")
SLOW = Verdict.error(Condition.INTERNAL_SERVER_ERROR, "sidecar-slow")


class Answerer(Protocol):
    """Decides jobs; the engine."""

    async def answer(self, job: Job, *, timeout_seconds: float) -> DialbackKey | Verdict | None:
        """Return a key only for Issue, None only for Report; an outage is a verdict."""

    async def verify_all(
        self, asked: Sequence[Verify], *, timeout_seconds: float
    ) -> Sequence[Verdict]:
        """Return what `answer` says of each."""


async def answer_one(
    answerer: Answerer, job: Job, timeout_seconds: float
) -> DialbackKey | Verdict | None:
    """As `answer`; a fault of the answerer is a verdict too."""
    try:
        return await answerer.answer(job, timeout_seconds=timeout_seconds)
    except Exception:
        log.exception("%s failed", name_of(job))
        return FAULT


async def answer_together(
    answerer: Answerer,
    jobs: Mapping[int, Issue | Verify],
    put: Callable[[int, DialbackKey | Verdict], None],
    timeout_seconds: float,
) -> None:
    """Have `jobs` decided, and `put` each answer at its place as soon as it is there."""

    async def issue(place: int, job: Issue) -> None:
        put(place, await answer_one(answerer, job, timeout_seconds) or FAULT)

    async def verify(asked: Mapping[int, Verify]) -> None:
        verdicts: Sequence[Verdict]
        try:
            verdicts = await answerer.verify_all(
                tuple(asked.values()), timeout_seconds=timeout_seconds
            )
        except Exception:
            log.exception("%d verify requests failed", len(asked))
            verdicts = [FAULT] * len(asked)
        for place, verdict in zip(asked, verdicts, strict=True):
            put(place, verdict)

    parts = [issue(place, job) for place, job in jobs.items() if isinstance(job, Issue)]
    if asked := {place: job for place, job in jobs.items() if isinstance(job, Verify)}:
        parts.append(verify(asked))
    if len(parts) == 1:
        await parts[0]
    else:
        await asyncio.gather(*parts)


def name_of(job: Job) -> str:
    return type(job).__name__.lower()
