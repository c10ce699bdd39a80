"""The steps of one check: what was done, when, for how long, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

from sidecar.jobs import Step
from sidecar.pkix.flaws import Flawed
from sidecar.s2s.failures import Failure


class Note:
    """A step that is being done, and what there is to say of it."""

    __slots__ = ("_begun", "_name", "_trace", "detail", "reason")

    def __init__(self, trace: Trace, name: str, detail: str) -> None:
        self._trace, self._name = trace, name
        self._begun = 0.0
        self.detail = detail
        self.reason: str | None = None

    def of(self, result: object) -> None:
        """Take the reason and the detail of a failure; anything else is a success."""
        if isinstance(result, Failure):
            self.reason, self.detail = result.reason.code, result.detail
        elif isinstance(result, Flawed):
            self.reason, self.detail = result.flaw.value, result.detail

    def __enter__(self) -> Self:
        self._begun = self._trace.now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: object
    ) -> None:
        if kind is not None and issubclass(kind, asyncio.CancelledError | TimeoutError):
            self.reason = "deadline"
        self._trace.add(self._name, self._begun, self.detail, self.reason)


class Trace:
    """Collects steps in the order in which they ended. `clock` in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._start = clock()
        self._steps: list[Step] = []

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(self._steps)

    def step(self, name: str, detail: str = "") -> Note:
        """Time one step, in a `with` statement; cut short by the deadline, its reason is
        `deadline`."""
        return Note(self, name, detail)

    def now(self) -> float:
        """Seconds since the trace began."""
        return self._clock() - self._start

    def add(self, name: str, begun_seconds: float, detail: str, reason: str | None) -> None:
        """Add a step that has just ended."""
        self._steps.append(Step(name, begun_seconds, self.now() - begun_seconds, detail, reason))

    def __str__(self) -> str:
        return "; ".join(str(step) for step in self._steps)
