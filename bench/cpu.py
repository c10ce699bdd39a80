"""CPU time of processes, from Linux' `/proc`, in seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

_NANOSECOND = 1e-9


def seconds(pid: int) -> float:
    """CPU time that all threads of a process have used, user and system.

    From `schedstat`, which counts nanoseconds where `stat` counts ticks of 10 ms. A thread
    that has ended is no longer counted.
    """
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((thread / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            continue
    return total * _NANOSECOND


def busy_seconds(core: int) -> float:
    """How long a core has not been idle since the machine started, in ticks of 10 ms."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *numbers = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq = map(int, numbers[:7])
            return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    raise LookupError(f"no core {core}")


class Meter:
    """What the processes of a contender have used since `Meter` was made."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._start = self._seconds()
        (self._core, *_) = os.sched_getaffinity(pids["server"])
        self._foreign_start = self._not_ours()
        self._began = time.perf_counter()

    def read(self) -> dict[str, float]:
        """CPU seconds by process."""
        return {name: now - self._start[name] for name, now in self._seconds().items()}

    def foreign_share(self) -> float:
        """The share of the time in which others, not we, kept the server's core busy.

        About 0.05 is the kernel's own work for us. What one of ours does elsewhere counts as if
        it were there.
        """
        elapsed = time.perf_counter() - self._began
        return max(0.0, self._not_ours() - self._foreign_start) / elapsed

    def _seconds(self) -> dict[str, float]:
        return {name: seconds(pid) for name, pid in self._pids.items()}

    def _not_ours(self) -> float:
        ours = [*self._pids.values(), os.getpid()]
        on_core = (pid for pid in ours if self._core in os.sched_getaffinity(pid))
        return busy_seconds(self._core) - sum(map(seconds, on_core))


def children(pid: int) -> list[int]:
    """The processes that `pid` started and that live."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(child) for child in (thread / "children").read_text().split()]
        except FileNotFoundError:
            continue
    return found
