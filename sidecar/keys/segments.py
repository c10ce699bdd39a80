"""The ledger's index: entries by minute of issuing, so that a whole minute is forgotten at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sidecar.keys.limits import SEGMENT_MS, Limits

NO_OWN_CAPS: Mapping[str, int] = MappingProxyType({})


class Segment:
    """The keys issued, or renewed, in one minute, and how many for whom."""

    __slots__ = ("by_sender", "by_zone", "entries", "start_ms")

    def __init__(self, start_ms: int) -> None:
        self.start_ms = start_ms
        self.entries: dict[bytes, int] = {}
        self.by_sender: dict[str, int] = {}
        self.by_zone: dict[int, int] = {}


@dataclass(frozen=True, slots=True)
class ExpiredSegment:
    """The entries of a minute in which every key has expired: only that they were."""

    start_ms: int
    entries: frozenset[bytes]


class Segments:
    """Live segments, newest first, and behind them the ones in which every key has expired.

    Every change to an entry or a count goes through `_set`, which remembers what was there:
    `undo` takes back a batch whose journal could not be written.
    """

    def __init__(self, limits: Limits, own_max_entries: Mapping[str, int] = NO_OWN_CAPS) -> None:
        self._limits = limits
        self._own_max_entries = own_max_entries
        self.live: list[Segment] = []
        self.expired: list[ExpiredSegment] = []
        self._undo: list[tuple[dict[Any, int], Any, int | None]] = []

    def advance(self, now_ms: int) -> Segment:
        """Return the segment of `now_ms`; let older ones expire, and the oldest be forgotten."""
        start_ms = now_ms - now_ms % SEGMENT_MS
        if not self.live or self.live[0].start_ms < start_ms:
            self.live.insert(0, Segment(start_ms))
            span_ms = SEGMENT_MS + self._limits.lifetime_ms
            while self.live[-1].start_ms + span_ms <= now_ms:
                over = self.live.pop()
                self.expired.insert(0, ExpiredSegment(over.start_ms, frozenset(over.entries)))
        while self.expired and self._forgettable(self.expired[-1], now_ms):
            self.expired.pop()
        return self.live[0]

    def _forgettable(self, segment: ExpiredSegment, now_ms: int) -> bool:
        return (
            segment.start_ms + SEGMENT_MS + self._limits.memory_ms <= now_ms
            or self.count + sum(len(each.entries) for each in self.expired) > self._limits.entries
        )

    @property
    def kept_from_ms(self) -> int:
        """The start of the oldest segment that is still needed."""
        if self.expired:
            return self.expired[-1].start_ms
        return self.live[-1].start_ms if self.live else 0

    @property
    def count(self) -> int:
        """How many keys are live, or have expired within the last minute."""
        count = 0
        for segment in self.live:
            count += len(segment.entries)
        return count

    def find(self, digest: bytes) -> Segment | None:
        """Return the live segment that holds this entry."""
        for segment in self.live:
            if digest in segment.entries:
                return segment
        return None

    def remembers(self, digest: bytes) -> bool:
        """Whether the entry was issued and has expired since."""
        return any(digest in segment.entries for segment in self.expired)

    def full_for(self, sender: str, zone: int) -> str | None:
        """Return the reason code of the cap that leaves no room for one more entry."""
        limits = self._limits
        for_sender = for_zone = 0
        for segment in self.live:
            for_sender += segment.by_sender.get(sender, 0)
            for_zone += segment.by_zone.get(zone, 0)
        if for_sender >= self._own_max_entries.get(sender, limits.entries_per_sender):
            return "cap-sender-domain"
        if for_zone >= limits.entries_per_zone:
            return "cap-target-zone"
        if self.count >= limits.entries:
            return "cap-ledger"
        return None

    def add(self, segment: Segment, digest: bytes, number: int, sender: str, zone: int) -> None:
        self._set(segment.entries, digest, number)
        self._set(segment.by_sender, sender, segment.by_sender.get(sender, 0) + 1)
        self._set(segment.by_zone, zone, segment.by_zone.get(zone, 0) + 1)

    def replace(self, segment: Segment, digest: bytes, number: int) -> None:
        self._set(segment.entries, digest, number)

    def remove(self, segment: Segment, digest: bytes, sender: str, zone: int) -> None:
        self._set(segment.entries, digest, None)
        self._set(segment.by_sender, sender, segment.by_sender[sender] - 1 or None)
        self._set(segment.by_zone, zone, segment.by_zone[zone] - 1 or None)

    def _set(self, mapping: dict[Any, int], key: Any, value: int | None) -> None:
        self._undo.append((mapping, key, mapping.get(key)))
        if value is None:
            del mapping[key]
        else:
            mapping[key] = value

    def keep(self) -> None:
        """Every change so far stands."""
        self._undo.clear()

    def undo(self) -> None:
        """Take back every change since the last `keep`."""
        while self._undo:
            mapping, key, before = self._undo.pop()
            if before is None:
                del mapping[key]
            else:
                mapping[key] = before
