"""What an operator must know, counted; one log line per alarm, subject and minute."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sidecar.keys.messages import Alarm

log = logging.getLogger(__name__)

_MAX_ALARMS = 200
_QUIET_MS = 60_000


@dataclass(slots=True)
class _Raised:
    text: str
    count: int
    first_ms: int
    last_ms: int
    logged_ms: int


class Alarms:
    """Alarms since the start, by code and subject. Peers can cause some: their number is capped."""

    def __init__(self) -> None:
        self._raised: dict[tuple[str, str], _Raised] = {}

    def sound(self, code: str, subject: str, text: str, now_ms: int) -> None:
        """Raise an alarm, or count it again. `text` holds neither key nor secret."""
        if (code, subject) not in self._raised and len(self._raised) >= _MAX_ALARMS:
            subject = "(others)"
        raised = self._raised.get((code, subject))
        if raised is None:
            raised = _Raised(text, 0, now_ms, now_ms, now_ms - _QUIET_MS)
            self._raised[code, subject] = raised
        raised.count += 1
        raised.last_ms = now_ms
        if abs(now_ms - raised.logged_ms) >= _QUIET_MS:
            raised.logged_ms = now_ms
            log.critical("ALARM %s %s: %s (%d times)", code, subject, text, raised.count)

    def list(self) -> list[Alarm]:
        return [
            Alarm(code, subject, raised.text, raised.count, raised.first_ms, raised.last_ms)
            for (code, subject), raised in self._raised.items()
        ]
