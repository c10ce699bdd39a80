"""What a benchmark found: samples of ours, of what it is compared with, and what is to be reached.

A ratio is taken within each round, where both were measured one after the other, and the
median of the rounds is told: what the machine does meanwhile hits both alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.sample import Sample

Samples = Mapping[str, Sequence[Sample]]
"""By load: one sample a round."""

_MILLI, _MICRO = 1e3, 1e6


@dataclass(frozen=True)
class Measure:
    """A number out of a sample; None where what was measured has none."""

    name: str
    unit: str
    of: Callable[[Sample], float | None]

    def numbers(self, samples: Sequence[Sample]) -> list[float]:
        return [number for s in samples if (number := self.of(s)) is not None]


def _cpu(process: str) -> Callable[[Sample], float | None]:
    return lambda s: s.cpu_each(process) * _MICRO if process in s.cpu_seconds else None


RATE = Measure("rate", "/s", lambda s: s.rate)
MEDIAN = Measure("median latency", "ms", lambda s: s.p50_seconds * _MILLI)
P99 = Measure("99th percentile", "ms", lambda s: s.p99_seconds * _MILLI)
CPU_OF_ALL = Measure("CPU of all", "µs each", lambda s: s.cpu_all * _MICRO)


def cpu_of(process: str) -> Measure:
    """CPU time of one process for each piece of work."""
    return Measure(f"CPU of {process}", "µs each", _cpu(process))


def measures(processes: Sequence[str]) -> list[Measure]:
    """All there is to tell of something made of `processes`."""
    return [RATE, MEDIAN, *map(cpu_of, processes), CPU_OF_ALL]


def ratios(measure: Measure, base: Sequence[Sample], ours: Sequence[Sample]) -> list[float]:
    """`ours` by `base` in each round; empty where one of them has no such number."""
    a, b = measure.numbers(base), measure.numbers(ours)
    return [y / x for x, y in zip(a, b, strict=False) if x]


@dataclass(frozen=True)
class Bound:
    """What a ratio is to reach, or with `more` what `ours` may have above `base`, in its unit."""

    at_least: float | None = None
    at_most: float | None = None
    goal: float | None = None
    more: float | None = None

    def __str__(self) -> str:
        if self.more is not None:
            return f"base + {self.more:g}"
        sign, number = (">=", self.at_least) if self.at_least is not None else ("<=", self.at_most)
        goal = f", goal {self.goal:g}" if self.goal is not None else ""
        return f"{sign} {number:g}{goal}"

    def is_reached(self, measure: Measure, base: Sequence[Sample], ours: Sequence[Sample]) -> bool:
        """Whether the median of the rounds reaches it."""
        if self.more is not None:
            pairs = zip(measure.numbers(base), measure.numbers(ours), strict=True)
            return statistics.median(y - x for x, y in pairs) <= self.more
        median = statistics.median(ratios(measure, base, ours))
        if self.at_least is not None:
            return median >= self.at_least
        return self.at_most is None or median <= self.at_most


@dataclass(frozen=True)
class Line:
    """A line of the table: a measure under a load, and what its ratio is to reach, if anything."""

    load: str
    measure: Measure
    bound: Bound | None = None


@dataclass(frozen=True)
class Comparison:
    """Ours beside something else in the same run; `base` is empty where there is no such thing."""

    title: str
    base_name: str
    ours_name: str
    base: Samples
    ours: Samples
    lines: Sequence[Line]
    notes: Sequence[str] = ()

    @property
    def failed(self) -> int:
        """How many pieces of work failed."""
        both = (*self.base.values(), *self.ours.values())
        return sum(sample.failed for samples in both for sample in samples)
