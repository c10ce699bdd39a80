"""Tells the operator what is refused, without letting strangers fill the log."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sidecar.component.admission import Refused, Why
from sidecar.errors import shorten

log = logging.getLogger(__name__)


class RefusalLog:
    """One line per reason and interval, with the number of those that got none."""

    def __init__(self, link: str, clock: Callable[[], float], interval_seconds: float = 60) -> None:
        self._link = link
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._last: dict[Why, float] = {}
        self._unsaid: dict[Why, int] = {}

    def note(self, refused: Refused) -> None:
        why, now = refused.why, self._clock()
        last = self._last.get(why)
        if last is not None and now - last < self._interval_seconds:
            self._unsaid[why] = self._unsaid.get(why, 0) + 1
            return
        self._last[why] = now
        unsaid = self._unsaid.pop(why, 0)
        more = f" ({unsaid} more since the last such line)" if unsaid else ""
        detail = f": {refused.told}" if why is Why.MALFORMED else ""
        log.warning(
            "link %s: refused a stanza from %s, %s%s%s",
            self._link,
            shorten(refused.address.asker),
            why.value,
            detail,
            more,
        )
