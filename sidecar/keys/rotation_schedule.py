"""Which version is to be rotated next: a heap, so that a domain more costs nothing to wait for."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from sidecar.keys.lifecycle import VersionFacts, rotation_due_ms

RETRY_MS = 1_000


class RotationSchedule:
    """Version ids by the time they are due; ids of versions that rotated otherwise are skipped,
    and so are times that were replaced since."""

    def __init__(
        self, period_ms_of: Callable[[str], int], is_active: Callable[[int], bool]
    ) -> None:
        """`period_ms_of` returns how old the secret of a sender domain becomes."""
        self._period_ms_of = period_ms_of
        self._is_active = is_active
        self._heap: list[tuple[int, int]] = []
        self._due_ms: dict[int, int] = {}

    def add(self, version: VersionFacts, now_ms: int) -> None:
        """Wait for this version, in place of what was waited for before."""
        self._push(version.id, self.due_ms(version, now_ms))

    def retry(self, version_ids: list[int], now_ms: int) -> None:
        """These were due and could not be rotated: they are due again soon."""
        for version_id in version_ids:
            self._push(version_id, now_ms + RETRY_MS)

    def due_ms(self, version: VersionFacts, now_ms: int) -> int:
        return rotation_due_ms(version, self._period_ms_of(version.domain), now_ms)

    def next_ms(self) -> int | None:
        """When the next rotation is due; None where there is nothing to rotate."""
        while self._heap:
            due_ms, version_id = self._heap[0]
            if self._due_ms.get(version_id) == due_ms:
                if self._is_active(version_id):
                    return due_ms
                del self._due_ms[version_id]
            heapq.heappop(self._heap)
        return None

    def take_due(self, now_ms: int, count: int) -> list[int]:
        """Return, and forget, up to `count` version ids that are due."""
        due: list[int] = []
        while len(due) < count:
            next_ms = self.next_ms()
            if next_ms is None or next_ms > now_ms:
                break
            _, version_id = heapq.heappop(self._heap)
            del self._due_ms[version_id]
            due.append(version_id)
        return due

    def _push(self, version_id: int, due_ms: int) -> None:
        if self._due_ms.get(version_id) != due_ms:
            self._due_ms[version_id] = due_ms
            heapq.heappush(self._heap, (due_ms, version_id))
