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
        self.against = Against.NOTHING

    def begin(self, transport: asyncio.ReadTransport) -> None:
        self._transport = transport

    def stop(self, why: Against) -> None:
        if self._transport is not None:
            if not self.against:
                self._transport.pause_reading()
            self.against |= why

    def go_on(self, why: Against) -> None:
        if self._transport is not None and self.against & why:
            self.against &= ~why
            if not self.against:
                self._transport.resume_reading()

    def end(self) -> None:
        """Pause no more: what comes is dropped, but the end of the connection is to be seen."""
        if self._transport is not None and self.against:
            self._transport.resume_reading()
        self.lost()

    def lost(self) -> None:
        """There is nothing to read from any more."""
        self._transport, self.against = None, Against.NOTHING
