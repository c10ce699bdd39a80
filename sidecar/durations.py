"""Times as operators write them: 90s, 30m, 24h, 7d."""

from __future__ import annotations

import re

from sidecar.errors import InvalidValue, shorten

PATTERN = "^[1-9][0-9]{0,7}[smhd]$"
_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}


class Duration:
    """A time span. `str` writes it in the largest unit that fits, without parts of a second."""

    __slots__ = ("ms",)

    def __init__(self, ms: int) -> None:
        self.ms = ms

    @classmethod
    def parse(cls, text: str, field: str = "duration") -> Duration:
        """Raises InvalidValue."""
        if not re.fullmatch(PATTERN, text):
            raise InvalidValue(field, f"expected a time such as 30m or 24h, got {shorten(text)}")
        return cls(int(text[:-1]) * _UNITS_MS[text[-1]])

    def __str__(self) -> str:
        for unit, unit_ms in _UNITS_MS.items():
            if self.ms >= unit_ms and self.ms % unit_ms == 0:
                return f"{self.ms // unit_ms}{unit}"
        return f"{self.ms // 1000}s"

    def __repr__(self) -> str:
        return f"Duration({self.ms})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and self.ms == other.ms

    def __hash__(self) -> int:
        return hash(self.ms)
