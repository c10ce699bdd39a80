"""Verification streams that stay open for more questions (XEP-0220 §2.6). Verdicts never do.

Which server speaks for a domain is DNS's word for each check: a stream is lent only where it goes
to an address and port that DNS has just named. For another domain than it was opened for, the
server must take several domains (`<errors/>`, §2.6.2) and must have shown a certificate that
proves that other domain as well: behind one address there may be servers of different owners.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import chain
from typing import TypeVar

from sidecar.names import Domain
from sidecar.s2s.address_budget import Place
from sidecar.s2s.channel import Channel
from sidecar.s2s.evidence import Certificates, Coverage

_MAX_ASKED = 100  # answers that fit into the bytes of one stream
_MAX_OUTSTANDING = 32
_MAX_CHANNELS = 256

_Key = tuple[Domain, Place, bool]
_AnyKey = TypeVar("_AnyKey")


class Pool:
    """Open channels by local domain, address, port and kind of TLS.

    One that is quiet for `idle_seconds` is closed; with 0 none is kept (XEP-0220 §2.1.2: a
    stream for verification alone should be closed at once).
    """

    def __init__(self, certificates: Certificates, idle_seconds: float) -> None:
        self._certificates = certificates
        self._idle_seconds = idle_seconds
        self._kept: dict[tuple[_Key, Domain], list[_Kept]] = {}
        self._shared: dict[_Key, list[_Kept]] = {}  # those of them that may do for other domains
        self._count = 0

    def lend(
        self, local: Domain, sender: Domain, places: Iterable[Place], *, direct_tls: bool
    ) -> Channel | None:
        """A channel on which `sender`'s server can be asked, if there is one."""
        for place in places:
            key = local, place, direct_tls
            own: Iterable[_Kept] = self._kept.get((key, sender), ())
            for kept in chain(own, self._shared.get(key, ())):
                if kept.is_good_for(sender):
                    kept.stay()
                    return kept.channel
        return None

    def keep(self, channel: Channel, place: Place) -> None:
        """Keep a channel that has answered, or close it."""
        if self._idle_seconds <= 0 or channel.ended or self._count >= _MAX_CHANNELS:
            channel.close()
            return
        shown = channel.connection.certificates()
        key = channel.local, place, channel.direct_tls
        kept = _Kept(self, key, channel, self._certificates.coverage(shown))
        self._kept.setdefault((key, channel.remote), []).append(kept)
        if shown and channel.dialback_errors:
            self._shared.setdefault(key, []).append(kept)
        self._count += 1
        kept.rest()

    def close(self) -> None:
        """Close them all."""
        for channels in list(self._kept.values()):
            for kept in list(channels):
                kept.leave()

    @property
    def idle_seconds(self) -> float:
        return self._idle_seconds

    def drop(self, kept: _Kept) -> None:
        """Forget one that is being closed."""
        _take_out(self._kept, (kept.key, kept.channel.remote), kept)
        if kept.key in self._shared:
            _take_out(self._shared, kept.key, kept)
        self._count -= 1


def _take_out(channels: dict[_AnyKey, list[_Kept]], key: _AnyKey, kept: _Kept) -> None:
    """Remove it if it is there, and what is empty then."""
    left = [each for each in channels[key] if each is not kept]
    if left:
        channels[key] = left
    else:
        del channels[key]


def _nothing() -> None:
    pass


class _Kept:
    """A channel in the pool, with the timer that ends it."""

    def __init__(self, pool: Pool, key: _Key, channel: Channel, coverage: Coverage) -> None:
        self.key, self.channel = key, channel
        self._pool = pool
        self._coverage = coverage
        self._timer: asyncio.TimerHandle | None = None
        self._left = False
        channel.on_quiet = self.rest

    def is_good_for(self, sender: Domain) -> bool:
        channel = self.channel
        if channel.ended or channel.asked >= _MAX_ASKED or channel.outstanding >= _MAX_OUTSTANDING:
            return False
        if sender == channel.remote:
            return True
        return channel.dialback_errors and self._coverage.covers(sender)

    def stay(self) -> None:
        """It is asked again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def rest(self) -> None:
        """Nothing is outstanding: close it in a while, or now if it is of no more use."""
        self.stay()
        if self._left:
            return
        loop = asyncio.get_running_loop()
        if self.channel.ended or self.channel.asked >= _MAX_ASKED:
            self._forget()
            loop.call_soon(self.channel.close)
        else:
            self._timer = loop.call_later(self._pool.idle_seconds, self.leave)

    def leave(self) -> None:
        """Close it and forget it."""
        self.stay()
        if not self._left:
            self._forget()
            self.channel.close()

    def _forget(self) -> None:
        self._left = True
        self._pool.drop(self)
        self.channel.on_quiet = _nothing  # or channel and this would hold each other
