"""How much memory processes have over the course of a run, and whether it stays."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping
from pathlib import Path

_RESIDENT = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)


def resident_mib(pid: int) -> float:
    """Resident memory of a process, in MiB."""
    found = _RESIDENT.search(Path(f"/proc/{pid}/status").read_text())
    assert found is not None, pid
    return int(found[1]) / 1024


class Course:
    """The resident memory of the processes `pids`, by role, looked at again and again."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self.mib: dict[str, list[float]] = {role: [] for role in pids}

    def look(self) -> None:
        """Add what each process has now."""
        for role, pid in self._pids.items():
            self.mib[role].append(resident_mib(pid))

    def together_at_first(self) -> float:
        """MiB of all processes when first looked at."""
        return sum(seen[0] for seen in self.mib.values())

    def added(self, role: str) -> float:
        """MiB that `role` has now beyond what it had at first."""
        return self.mib[role][-1] - self.mib[role][0]

    def growth(self, role: str) -> float:
        """How many times as much `role` had in the last quarter as in the second.

        The first quarter is left out: caches and the bounded history fill.
        """
        seen = self.mib[role]
        quarter = len(seen) // 4
        assert quarter, "looked at too seldom"
        before = statistics.median(seen[quarter : 2 * quarter])
        return statistics.median(seen[-quarter:]) / before

    def table(self) -> list[str]:
        """One line for each process, eight columns over the course."""
        lines = []
        for role, seen in self.mib.items():
            step = max(1, len(seen) // 8)
            columns = "".join(f"{mib:7.1f}" for mib in seen[::step])
            lines.append(f"{role:8} MiB {columns}   last/second quarter {self.growth(role):.3f}")
        return lines
