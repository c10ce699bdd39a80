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

    def __init__(self, source: ClockSource, mark: str | None, latest_ms: int) -> None:
        """`mark` is what `mark()` returned before, in this boot or an earlier one.

        `latest_ms` is the latest time that was noted anywhere. `ran_backwards` tells that it is
        ahead of us by more than the tolerance; by less, and we begin there.
        """
        self._source = source
        self._offset_ms = source.wall_ms() - source.boot_ms()
        if mark is not None:
            boot_id, offset_ms, high_ms = mark.split()
            latest_ms = max(latest_ms, int(high_ms))
            if boot_id == source.boot_id:
                self._offset_ms = int(offset_ms)
        behind_ms = latest_ms - self.now_ms()
        self.ran_backwards = behind_ms > TOLERANCE_MS
        if 0 < behind_ms <= TOLERANCE_MS:
            self._offset_ms += behind_ms

    def now_ms(self) -> int:
        return self._source.boot_ms() + self._offset_ms

    def mark(self) -> str:
        """What to keep for the next start."""
        return f"{self._source.boot_id} {self._offset_ms} {self.now_ms()}"

    def deviation_ms(self) -> int:
        """How far the system's clock is ahead of this one; 0 within tolerance."""
        ahead_ms = self._source.wall_ms() - self.now_ms()
        return ahead_ms if abs(ahead_ms) > TOLERANCE_MS else 0
