"""How many connections there are, in all and from each network, and who makes way for others."""

from __future__ import annotations

from typing import Protocol


class Holder(Protocol):
    """A connection that may have a place."""

    @property
    def network(self) -> str: ...

    def make_way(self) -> None:
        """Give the place back, and end."""


class ConnectionCount:
    """Counts connections. Changed limits hold for the next one.

    Where all places are taken, a few networks do not keep out all others: the quietest connection
    of the network that has most of them makes way for one of a network that has none, or has fewer
    still with that one.
    """

    def __init__(self, in_all: int, per_network: int) -> None:
        self.in_all = in_all
        self.per_network = per_network
        self._by_network: dict[str, dict[Holder, None]] = {}
        """The connections of each network; who has been quiet for longest comes first."""
        self.taken = 0

    def enter(self, holder: Holder) -> bool:
        """Take a place, if there is one."""
        count = len(self._by_network.get(holder.network, ()))
        if count >= self.per_network:
            return False
        if self.taken >= self.in_all and self._by_network:
            most = max(self._by_network.values(), key=len)
            if len(most) > count + 1 or not count:
                next(iter(most)).make_way()
        if self.taken >= self.in_all:
            return False
        self.taken += 1
        self._by_network.setdefault(holder.network, {})[holder] = None
        return True

    def note_activity(self, holder: Holder) -> None:
        """Whoever has a place has said something."""
        holders = self._by_network[holder.network]
        del holders[holder]
        holders[holder] = None

    def leave(self, holder: Holder) -> None:
        """Whoever has a place gives it back."""
        self.taken -= 1
        holders = self._by_network[holder.network]
        del holders[holder]
        if not holders:
            del self._by_network[holder.network]
