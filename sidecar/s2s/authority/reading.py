"""Whether a connection is read from: not while there is any reason against it."""

from __future__ import annotations

import asyncio
import enum


class Against(enum.Flag):
    """Reasons not to read."""

    NOTHING = 0
    RATE = enum.auto()  # the peer's network has asked too much
    PENDING = enum.auto()  # too much waits for an answer
    WRITING = enum.auto()  # the peer does not read


class Reading:
    """Pauses the transport for the first reason, and resumes it after the last."""

    def __init__(self) -> None:
        self._transport: asyncio.ReadTransport | None = None
        self._over = False
        self.against = Against.NOTHING

    def begin(self, transport: asyncio.ReadTransport) -> None:
        """Called where the connection is made. uvloop begins to read after that, paused or not, so
        what there is against it takes effect in the next turn of the event loop."""
        asyncio.get_running_loop().call_soon(self._begun, transport)

    def _begun(self, transport: asyncio.ReadTransport) -> None:
        if not self._over:
            self._transport = transport
            if self.against:
                transport.pause_reading()

    def stop(self, why: Against) -> None:
        if self._over:
            return
        if self._transport is not None and not self.against:
            self._transport.pause_reading()
        self.against |= why

    def go_on(self, why: Against) -> None:
        if not self.against & why:
            return
        self.against &= ~why
        if self._transport is not None and not self.against:
            self._transport.resume_reading()

    def end(self) -> None:
        """Pause no more: what comes is dropped, but the end of the connection is to be seen."""
        if self._transport is not None and self.against:
            self._transport.resume_reading()
        self.lost()

    def lost(self) -> None:
        """There is nothing to read from any more."""
        self._transport, self._over, self.against = None, True, Against.NOTHING
