"""What a server printed, line by line, with the time each line came."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass

from sidecar.lab.faults import LabError


@dataclass(frozen=True, slots=True)
class Line:
    """One line of output; `seconds` is `time.time()` when it arrived."""

    seconds: float
    text: str


class Output:
    """The lines so far, and a way to wait for the next that matters.

    >>> before = server.output.mark()
    >>> line = await server.output.wait_for(r"stream established", after=before)
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: list[Line] = []
        self._rest = b""
        self._closed: str | None = None
        self._changed = asyncio.Event()

    def mark(self) -> int:
        """The place of the next line, for `after`."""
        return len(self.lines)

    def text(self, after: int = 0) -> str:
        return "\n".join(line.text for line in self.lines[after:])

    def find(self, pattern: str, after: int = 0) -> list[Line]:
        """All lines from `after` on in which the regular expression `pattern` occurs."""
        compiled = re.compile(pattern)
        return [line for line in self.lines[after:] if compiled.search(line.text)]

    async def wait_for(self, pattern: str, *, after: int = 0, timeout_seconds: float = 30) -> Line:
        """Return the first line from `after` on that matches, as soon as it is there.

        Raises LabError with the last lines when none came in time or the process ended.
        """
        compiled = re.compile(pattern)
        place = after
        deadline = time.monotonic() + timeout_seconds
        while True:
            while place < len(self.lines):
                if compiled.search(self.lines[place].text):
                    return self.lines[place]
                place += 1
            if self._closed is not None:
                raise LabError(self._complaint(f"ended ({self._closed}) before", pattern))
            self._changed.clear()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._changed.wait()
            except TimeoutError as error:
                problem = f"printed nothing within {timeout_seconds:g} s like"
                raise LabError(self._complaint(problem, pattern)) from error

    def feed(self, data: bytes) -> None:
        now = time.time()
        *whole, self._rest = (self._rest + data).split(b"\n")
        for raw in whole:
            self.lines.append(Line(now, raw.decode(errors="replace").rstrip("\r")))
        self._changed.set()

    def close(self, how: str) -> None:
        """Nothing more will come."""
        if self._rest:
            self.feed(b"\n")
        self._closed = how
        self._changed.set()

    def reopen(self) -> None:
        """The process was started again."""
        self._closed = None

    def _complaint(self, problem: str, pattern: str) -> str:
        last = "\n".join("    " + line.text for line in self.lines[-25:])
        return f"{self.name} {problem} {pattern!r}; its last lines:\n{last}"
