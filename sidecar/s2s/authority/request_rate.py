"""How much each network may ask: a bucket of requests for each, refilled with time.

What all of them may ask together can be more than we can answer. Then everybody would wait, those
too who ask little: so the later we are, the dearer is everything, and those who ask much wait.
"""

from __future__ import annotations

_BURST_SECONDS = 0.5
_MOST_OWED_SECONDS = 60.0
"""A flood from a network costs its other servers no more than this once it is over."""
_MAX_NETWORKS = 16_384
_LATE_SECONDS = 0.01
_DEARER, _CHEAPER, _DEAREST = 2.0, 0.95, 64.0
"""Cheaper only slowly: those who had to wait come back all together."""


class RequestRate:
    """Charges networks; whoever owes waits. Times in seconds, given by the caller."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self.factor = 1.0
        """How many times the price everything costs now."""
        self._spent: dict[str, float] = {}
        """By network: until when its past requests take, at the lasting rate."""

    def note_lateness(self, seconds: float) -> None:
        """How late the event loop was with something; called some times a second."""
        if seconds > _LATE_SECONDS:
            self.factor = min(self.factor * _DEARER, _DEAREST)
        else:
            self.factor = max(self.factor * _CHEAPER, 1.0)

    def charge(self, network: str, price: float, now: float) -> float:
        """Charge `price` requests; return the seconds to wait before the next."""
        until = max(self._spent.get(network, 0.0), now) + price * self.factor / self.per_second
        until = min(until, now + _MOST_OWED_SECONDS)
        if network not in self._spent and len(self._spent) >= _MAX_NETWORKS:
            self._forget(now)
        self._spent[network] = until
        return max(0.0, until - now - _BURST_SECONDS)

    def _forget(self, now: float) -> None:
        """Forget the networks that owe nothing; of the others the older half."""
        self._spent = {network: until for network, until in self._spent.items() if until > now}
        if len(self._spent) >= _MAX_NETWORKS:
            self._spent = dict(list(self._spent.items())[_MAX_NETWORKS // 2 :])
