"""Which version is to be rotated next: a heap, so that a domain more costs nothing to wait for."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from sidecar.keys.lifecycle import VersionFacts, rotation_due_ms

RETRY_MS = 1_000


class RotationSchedule:
    """Version ids by the time they are due; ids of versions that rotated otherwise are skipped."""

    def __init__(self, period_ms: int, is_active: Callable[[int], bool]) -> None:
        self._period_ms = period_ms
        self._is_active = is_active
        self._heap: list[tuple[int, int]] = []

    def add(self, version: VersionFacts, now_ms: int) -> None:
        heapq.heappush(self._heap, (self.due_ms(version, now_ms), version.id))

    def retry(self, version_ids: list[int], now_ms: int) -> None:
        """These were due and could not be rotated: they are due again soon."""
        for version_id in version_ids:
            heapq.heappush(self._heap, (now_ms + RETRY_MS, version_id))

    def due_ms(self, version: VersionFacts, now_ms: int) -> int:
        return rotation_due_ms(version, self._period_ms, now_ms)

    def next_ms(self) -> int | None:
        """When the next rotation is due; None where there is nothing to rotate."""
        while self._heap and not self._is_active(self._heap[0][1]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now_ms: int, count: int) -> list[int]:
        """Return, and forget, up to `count` version ids that are due."""
        due: list[int] = []
        while len(due) < count:
            next_ms = self.next_ms()
            if next_ms is None or next_ms > now_ms:
                break
            due.append(heapq.heappop(self._heap)[1])
        return due
