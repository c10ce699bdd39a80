"""What one run of one load against one server gave."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from bench import cpu
from sidecar.lab.faults import LabError

_SETTLE_SECONDS = 0.15


@dataclass
class Sample:
    """One run: `done` pieces of work in `seconds`, and the CPU time of each process.

    `foreign_share` is the share of the time in which others kept the server's core busy.
    """

    done: int
    failed: int
    seconds: float
    p50_seconds: float
    p99_seconds: float
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    foreign_share: float = 0.0

    @property
    def rate(self) -> float:
        """Pieces of work per second."""
        return self.done / self.seconds

    def cpu_each(self, process: str) -> float:
        """CPU seconds of `process` for one piece of work."""
        return self.cpu_seconds[process] / self.done

    @property
    def cpu_all(self) -> float:
        """CPU seconds of all processes for one piece of work."""
        return sum(self.cpu_seconds.values()) / self.done


def summary(latencies: list[float], failed: int, seconds: float) -> Sample:
    """A sample without CPU times from the latencies, at least one, of what succeeded."""
    ordered = sorted(latencies)
    return Sample(
        done=len(ordered),
        failed=failed,
        seconds=seconds,
        p50_seconds=statistics.median(ordered),
        p99_seconds=ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
    )


async def measured(pids: Mapping[str, int], load: Callable[[], Awaitable[Sample]]) -> Sample:
    """Run `load`; count the CPU time of the processes `pids` from before it until all is quiet.

    Streams that are being closed when the load ends are part of its cost.
    """
    meter = cpu.Meter(pids)
    sample = await load()
    await asyncio.sleep(_SETTLE_SECONDS)
    sample.cpu_seconds = meter.read()
    sample.foreign_share = meter.foreign_share()
    return sample


async def repeat(once: Callable[[], Awaitable[float]], *, count: int, at_once: int) -> Sample:
    """Do `once` (it returns its latency in seconds) `count` times, `at_once` of them at a time."""
    latencies: list[float] = []
    failures: list[Exception] = []
    remaining = iter(range(count))

    async def worker() -> None:
        for _ in remaining:
            try:
                latencies.append(await once())
            except (OSError, TimeoutError) as error:
                failures.append(error)

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(min(at_once, count))))
    if not latencies:
        raise LabError(f"all {count} attempts failed, the last with {failures[-1]!r}")
    return summary(latencies, len(failures), time.perf_counter() - start)
