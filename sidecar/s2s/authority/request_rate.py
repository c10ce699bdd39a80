"""How much each network may ask: a bucket of requests for each, refilled with time."""

from __future__ import annotations

_BURST_SECONDS = 0.5
_MOST_OWED_SECONDS = 60.0
"""A flood from a network costs its other servers no more than this once it is over."""
_MAX_NETWORKS = 16_384


class RequestRate:
    """Charges networks; whoever owes waits. Times in seconds, given by the caller."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._spent: dict[str, float] = {}
        """By network: until when its past requests take, at the lasting rate."""

    def charge(self, network: str, price: float, now: float) -> float:
        """Charge `price` requests; return the seconds to wait before the next."""
        until = max(self._spent.get(network, 0.0), now) + price / self.per_second
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
