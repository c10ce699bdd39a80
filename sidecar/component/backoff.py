"""When to try again: exponential back-off with full jitter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class BackOff:
    """Delays drawn evenly from [0, ceiling); the ceiling doubles from `first_seconds` to a cap.

    `draw` returns a number in [0, 1). Full jitter spreads sidecars that lost one server together.
    """

    draw: Callable[[], float]
    first_seconds: float = 0.5
    cap_seconds: float = 30.0
    attempts: int = 0

    def next_delay_seconds(self) -> float:
        ceiling = min(self.cap_seconds, self.first_seconds * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return self.draw() * ceiling

    def reset(self) -> None:
        self.attempts = 0
