"""CPU time of processes, from Linux' `/proc`, in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_NANOSECOND = 1e-9


def seconds(pid: int) -> float:
    """CPU time that all threads of `pid` have used, user and system.

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


class Meter:
    """CPU seconds each process of a contender has used since `Meter` was made."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._start = {name: seconds(pid) for name, pid in pids.items()}

    def read(self) -> dict[str, float]:
        return {name: seconds(pid) - self._start[name] for name, pid in self._pids.items()}


def children(pid: int) -> list[int]:
    """The processes that `pid` started and that live."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(child) for child in (thread / "children").read_text().split()]
        except FileNotFoundError:
            continue
    return found
