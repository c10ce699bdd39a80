"""Comparisons as the one table, as a table of everything measured, and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from bench.comparison import Comparison, Line, Samples, measures, ratios
from bench.sample import Sample

Results = Mapping[str, Samples]
"""By contender, the one to compare with first."""

_LINE = "  {:44}{:>15}{:>15}  {:22}{}"


def summary(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """The table: medians with half of their spread, ratios with range, what is to be reached."""
    yield _LINE.format("", "beside", "ours", "ratio (range)", "to reach").rstrip()
    for comparison in comparisons:
        beside = f": {comparison.ours_name} beside {comparison.base_name}"
        yield comparison.title + (beside if comparison.base_name else "")
        if comparison.failed:
            yield f"  {comparison.failed} FAILED"
        yield from (_line(comparison, line) for line in comparison.lines)
        yield from (f"  {note}" for note in comparison.notes)


def _line(comparison: Comparison, line: Line) -> str:
    base = comparison.base.get(line.load, ())
    ours = comparison.ours[line.load]
    name = f"{line.load}: {line.measure.name}, {line.measure.unit}"
    a, b = line.measure.numbers(base), line.measure.numbers(ours)
    verdict = ""
    if line.bound is not None:
        reached = line.bound.is_reached(line.measure, base, ours)
        verdict = f"{line.bound}: {'reached' if reached else 'NOT REACHED'}"
    text = _LINE.format(_short(name), median(a), median(b), _ratio(line, base, ours), verdict)
    return text.rstrip()


def _short(name: str) -> str:
    """Make a name fit its column."""
    for long, short in (
        ("bound handshakes", "bound"),
        ("median latency", "p50"),
        ("99th percentile", "p99"),
        (" outstanding", " out"),
        (" each", ""),
    ):
        name = name.replace(long, short)
    return name


def _ratio(line: Line, base: Sequence[Sample], ours: Sequence[Sample]) -> str:
    each = ratios(line.measure, base, ours)
    if not each:
        return ""
    text = f"{statistics.median(each):.2f}"
    return f"{text} ({min(each):.2f} to {max(each):.2f})" if len(each) > 1 else text


def reached(comparisons: Sequence[Comparison]) -> tuple[int, int]:
    """How many numbers are reached, and how many there are to reach."""
    outcomes = [
        line.bound.is_reached(line.measure, c.base[line.load], c.ours[line.load])
        for c in comparisons
        for line in c.lines
        if line.bound is not None
    ]
    return sum(outcomes), len(outcomes)


def table(results: Results) -> Iterator[str]:
    """Everything measured of two contenders: medians, half of their spread in percent, ratios."""
    base_name, other_name = results
    base, other = results[base_name], results[other_name]
    yield f"{'':34}{base_name:>18}{other_name:>18}   ratio (range)"
    for load, base_samples in base.items():
        other_samples = other[load]
        failed = sum(sample.failed for sample in [*base_samples, *other_samples])
        yield f"{load}{f', {failed} FAILED' if failed else ''}"
        for measure in measures(list(other_samples[0].cpu_seconds)):
            a, b = measure.numbers(base_samples), measure.numbers(other_samples)
            line = f"  {measure.name + ', ' + measure.unit:32}{median(a):>18}{median(b):>18}"
            yield (line + "   " + _ratio(Line(load, measure), base_samples, other_samples)).rstrip()


def median(numbers: Sequence[float]) -> str:
    """The median with half of the spread in percent; a hyphen when there is no number."""
    if not numbers:
        return "-"
    middle = statistics.median(numbers)
    digits = 0 if middle >= 100 else 1 if middle >= 10 else 2
    text = f"{middle:,.{digits}f}"
    if len(numbers) > 1 and middle:
        text += f" ±{(max(numbers) - min(numbers)) / 2 / middle * 100:2.0f} %"
    return text


def disturbance(results: Results) -> float:
    """The share of all the time in which others kept the servers' core busy."""
    samples = [s for by_load in results.values() for each in by_load.values() for s in each]
    foreign = sum(sample.foreign_share * sample.seconds for sample in samples)
    return foreign / sum(sample.seconds for sample in samples)


def as_json(comparison: Comparison) -> dict[str, object]:
    """Every sample, the median ratios, and what is to be reached."""
    both = {comparison.base_name: comparison.base, comparison.ours_name: comparison.ours}
    return {
        "title": comparison.title,
        "samples": {
            name: {load: [asdict(sample) for sample in samples] for load, samples in found.items()}
            for name, found in both.items()
            if found
        },
        "lines": [_line_as_json(comparison, line) for line in comparison.lines],
        "notes": list(comparison.notes),
    }


def _line_as_json(comparison: Comparison, line: Line) -> dict[str, object]:
    base, ours = comparison.base.get(line.load, ()), comparison.ours[line.load]
    found: dict[str, object] = {"load": line.load, "measure": line.measure.name}
    if each := ratios(line.measure, base, ours):
        found["ratio"] = statistics.median(each)
    if line.bound is not None:
        found["to_reach"] = str(line.bound)
        found["reached"] = line.bound.is_reached(line.measure, base, ours)
    return found
