"""The steps of one check: what was done, when, for how long, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sidecar.jobs import Step
from sidecar.pkix.flaws import Flawed
from sidecar.s2s.failures import Failure


class Note:
    """What there is to say of a step that is being done."""

    __slots__ = ("detail", "reason")

    def __init__(self) -> None:
        self.detail = ""
        self.reason: str | None = None

    def of(self, result: object) -> None:
        """Take the reason and the detail of a failure; anything else is a success."""
        if isinstance(result, Failure):
            self.reason, self.detail = result.reason.code, result.detail
        elif isinstance(result, Flawed):
            self.reason, self.detail = result.flaw.value, result.detail


class Trace:
    """Collects steps in the order in which they ended. `clock` in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._start = clock()
        self._steps: list[Step] = []

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(self._steps)

    @contextmanager
    def step(self, name: str, detail: str = "") -> Iterator[Note]:
        """Time one step; cut short by the deadline, its reason is `deadline`."""
        note = Note()
        note.detail = detail
        start = self._clock()
        try:
            yield note
        except (asyncio.CancelledError, TimeoutError):
            note.reason = "deadline"
            raise
        finally:
            self._steps.append(
                Step(name, start - self._start, self._clock() - start, note.detail, note.reason)
            )

    def __str__(self) -> str:
        return "; ".join(str(step) for step in self._steps)
