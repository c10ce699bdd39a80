"""Samples of two contenders as a table of medians and ratios, and as JSON.

A ratio is taken within each round, where both were measured one after the other, and the
median of the rounds is reported: what the machine does meanwhile hits both alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from bench.sample import Sample

Results = Mapping[str, Mapping[str, Sequence[Sample]]]
"""By contender, then by load: one sample a round."""

_MILLI, _MICRO = 1e3, 1e6


@dataclass(frozen=True)
class Measure:
    """One line of the table: a number out of a sample; None where a contender has none."""

    name: str
    unit: str
    of: Callable[[Sample], float | None]


def _cpu(process: str) -> Callable[[Sample], float | None]:
    return lambda s: s.cpu_each(process) * _MICRO if process in s.cpu_seconds else None


def measures(processes: Sequence[str]) -> list[Measure]:
    """The lines for contenders made of `processes`."""
    return [
        Measure("rate", "/s", lambda s: s.rate),
        Measure("median latency", "ms", lambda s: s.p50_seconds * _MILLI),
        *(Measure(f"CPU of {process}", "µs each", _cpu(process)) for process in processes),
        Measure("CPU of all", "µs each", lambda s: s.cpu_all * _MICRO),
    ]


def _numbers(measure: Measure, samples: Sequence[Sample]) -> list[float]:
    return [number for s in samples if (number := measure.of(s)) is not None]


def ratios(measure: Measure, base: Sequence[Sample], other: Sequence[Sample]) -> list[float]:
    """`other` by `base` in each round; empty where one of them has no such number."""
    a, b = _numbers(measure, base), _numbers(measure, other)
    return [y / x for x, y in zip(a, b, strict=False) if x]


def table(results: Results) -> Iterator[str]:
    """The lines of the table: medians, half of their spread in percent, ratios with range."""
    base_name, other_name = results
    base, other = results[base_name], results[other_name]
    yield f"{'':34}{base_name:>18}{other_name:>18}   ratio (range)"
    for load, base_samples in base.items():
        other_samples = other[load]
        failed = sum(sample.failed for sample in [*base_samples, *other_samples])
        yield f"{load}{f', {failed} FAILED' if failed else ''}"
        for measure in measures(list(other_samples[0].cpu_seconds)):
            a, b = _numbers(measure, base_samples), _numbers(measure, other_samples)
            line = f"  {measure.name + ', ' + measure.unit:32}{_median(a):>18}{_median(b):>18}"
            if each := ratios(measure, base_samples, other_samples):
                line += f"   {statistics.median(each):.2f}"
                if len(each) > 1:
                    line += f" ({min(each):.2f} to {max(each):.2f})"
            yield line


def _median(numbers: Sequence[float]) -> str:
    if not numbers:
        return "-"
    median = statistics.median(numbers)
    digits = 0 if median >= 100 else 1 if median >= 10 else 2
    text = f"{median:,.{digits}f}"
    if len(numbers) > 1 and median:
        text += f" ±{(max(numbers) - min(numbers)) / 2 / median * 100:2.0f} %"
    return text


def disturbance(results: Results) -> float:
    """The share of all the time in which others kept the servers' core busy."""
    samples = [s for by_load in results.values() for each in by_load.values() for s in each]
    foreign = sum(sample.foreign_share * sample.seconds for sample in samples)
    return foreign / sum(sample.seconds for sample in samples)


def as_json(results: Results) -> dict[str, object]:
    """Every sample, and the median ratios by load and measure."""
    base, other = results.values()
    return {
        "samples": {
            name: {load: [asdict(sample) for sample in samples] for load, samples in found.items()}
            for name, found in results.items()
        },
        "ratios": {
            load: {
                measure.name: statistics.median(each)
                for measure in measures(list(other[load][0].cpu_seconds))
                if (each := ratios(measure, base[load], other[load]))
            }
            for load in base
        },
    }
