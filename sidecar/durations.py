"""Times as operators write them: 90s, 30m, 24h, 7d."""

from __future__ import annotations

import re

from sidecar.errors import InvalidValue, shorten

PATTERN = "^[1-9][0-9]{0,7}[smhd]$"
_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}


def parse_duration_ms(text: str, field: str = "duration") -> int:
    """Return milliseconds. Raises InvalidValue."""
    if not re.fullmatch(PATTERN, text):
        raise InvalidValue(field, f"expected a time such as 30m or 24h, got {shorten(text)}")
    return int(text[:-1]) * _UNITS_MS[text[-1]]


def duration_text(ms: int) -> str:
    """Write whole seconds in the largest unit that fits; a part of a second is cut off."""
    for unit, unit_ms in _UNITS_MS.items():
        if ms >= unit_ms and ms % unit_ms == 0:
            return f"{ms // unit_ms}{unit}"
    return f"{ms // 1000}s"
