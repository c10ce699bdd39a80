"""What one address may cost: how often it is dialled, and what failed there a moment ago.

Strangers name the addresses we dial. Failures of DNS and TCP are remembered, briefly and per
address; verdicts never are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sidecar.s2s.failures import Failure, Reason

_MAX_ENTRIES = 8192
_REMEMBERED_SECONDS = {
    Reason.CONNECT_REFUSED: 2.0,
    Reason.CONNECT_UNREACHABLE: 2.0,
    Reason.CONNECT_TIMEOUT: 10.0,
}

Place = tuple[str, int]
"""Address and port."""


@dataclass(frozen=True, slots=True)
class DialLimits:
    """Connections to one address: at once so many, then so many a second; one prefix gets less."""

    burst: int = 800
    per_second: float = 200.0
    prefix_burst: int = 200
    prefix_per_second: float = 50.0

    @classmethod
    def lasting(cls, per_second: float) -> DialLimits:
        """So many a second, four seconds' worth at once, a quarter of both for one prefix."""
        burst = max(4, round(4 * per_second))
        return cls(burst, per_second, max(1, burst // 4), per_second / 4)


class AddressBudget:
    """Allows a connection, or says why not. `clock` in seconds."""

    def __init__(self, limits: DialLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._failures: dict[Place, tuple[float, Failure]] = {}
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}

    def refusal(self, place: Place, prefix: str) -> Failure | None:
        """Charge one connection on behalf of `prefix`; the failure to report where it may not."""
        now = self._clock()
        failed = self._failures.get(place)
        if failed is not None:
            until, failure = failed
            if until > now:
                return failure
            del self._failures[place]
        limits = self._limits
        address = place[0]
        prefix_left = self._left(
            (address, prefix), limits.prefix_burst, limits.prefix_per_second, now
        )
        address_left = self._left((address, ""), limits.burst, limits.per_second, now)
        if prefix_left < 1 or address_left < 1:
            return Failure(Reason.ADDRESS_BUSY, address)
        self._make_room()
        self._buckets[address, prefix] = (now, prefix_left - 1)
        self._buckets[address, ""] = (now, address_left - 1)
        return None

    def remember(self, place: Place, failure: Failure) -> None:
        """What happened at `place`; only what TCP said counts."""
        seconds = _REMEMBERED_SECONDS.get(failure.reason)
        if seconds is not None:
            self._make_room()
            self._failures[place] = (self._clock() + seconds, failure)

    def _left(self, key: tuple[str, str], burst: float, per_second: float, now: float) -> float:
        since, left = self._buckets.get(key, (now, burst))
        return min(burst, left + (now - since) * per_second)

    def _make_room(self) -> None:
        """Forget the older half of what there is too much of."""
        if len(self._failures) >= _MAX_ENTRIES:
            self._failures = dict(list(self._failures.items())[_MAX_ENTRIES // 2 :])
        if len(self._buckets) >= 2 * _MAX_ENTRIES:
            newest = sorted(self._buckets.items(), key=lambda item: item[1][0])
            self._buckets = dict(newest[_MAX_ENTRIES:])
