"""How many connections there are, in all and from each network."""

from __future__ import annotations

from collections import Counter


class ConnectionCount:
    """Counts connections. Changed limits hold for the next one."""

    def __init__(self, in_all: int, per_network: int) -> None:
        self.in_all = in_all
        self.per_network = per_network
        self._by_network: Counter[str] = Counter()
        self.taken = 0

    def enter(self, network: str) -> bool:
        """Take a place, if there is one."""
        if self.taken >= self.in_all or self._by_network[network] >= self.per_network:
            return False
        self.taken += 1
        self._by_network[network] += 1
        return True

    def leave(self, network: str) -> None:
        self.taken -= 1
        self._by_network[network] -= 1
        if not self._by_network[network]:
            del self._by_network[network]
