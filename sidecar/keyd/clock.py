"""The clock of the ledger: it never steps, whatever is done to the system's clock.

Within one boot it runs on the kernel's count since boot, so that a step of the system's clock
makes no key live longer or die sooner. From one boot to the next only the system's clock knows
how much time has passed; a high-water mark tells when it says that time ran backwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TOLERANCE_MS = 10_000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class ClockSource:
    """Where time comes from: milliseconds since 1970 and since boot, and a name of this boot."""

    wall_ms: Callable[[], int]
    boot_ms: Callable[[], int]
    boot_id: str

    @classmethod
    def of_this_machine(cls) -> ClockSource:
        return cls(
            lambda: time.time_ns() // 1_000_000,
            lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
            _BOOT_ID.read_text().strip(),
        )


class LedgerClock:
    """Milliseconds since 1970 as of the start of this boot, running evenly from there."""

    def __init__(self, source: ClockSource, mark: str | None) -> None:
        """`mark` is what `mark()` returned before, in this boot or an earlier one."""
        self._source = source
        self._offset_ms = source.wall_ms() - source.boot_ms()
        self.ran_backwards = False
        if mark is not None:
            boot_id, offset_ms, high_ms = mark.split()
            if boot_id == source.boot_id:
                self._offset_ms = int(offset_ms)
            else:
                self.ran_backwards = self.now_ms() < int(high_ms) - TOLERANCE_MS

    def now_ms(self) -> int:
        return self._source.boot_ms() + self._offset_ms

    def mark(self) -> str:
        """What to keep for the next start."""
        return f"{self._source.boot_id} {self._offset_ms} {self.now_ms()}"

    def deviation_ms(self) -> int:
        """How far the system's clock is ahead of this one; 0 within tolerance."""
        ahead_ms = self._source.wall_ms() - self.now_ms()
        return ahead_ms if abs(ahead_ms) > TOLERANCE_MS else 0
