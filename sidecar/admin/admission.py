"""How many connections the API takes. Without a bound they would use up the daemon's descriptors,
and a flood of the API would be an outage of federation."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import cast

from sidecar.admin.problems import ProblemResponse, members

MAX_CONNECTIONS = 256
_RETRY_SECONDS = 5


class Admission:
    """Makes the protocol of each connection; those beyond `limit` get a problem and are closed."""

    def __init__(self, make: Callable[[], asyncio.Protocol], limit: int = MAX_CONNECTIONS) -> None:
        self._make = make
        self._limit = limit
        self._open = 0

    def __call__(self) -> asyncio.Protocol:
        return _Counted(self)

    def enter(self) -> asyncio.Protocol | None:
        """Return the protocol for one more connection; None when there are too many."""
        if self._open >= self._limit:
            return None
        self._open += 1
        return self._make()

    def leave(self) -> None:
        self._open -= 1


class _Counted(asyncio.Protocol):
    """Passes everything on to the protocol within, if the connection was let in."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._within: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._within = self._admission.enter()
        if self._within is not None:
            self._within.connection_made(transport)
            return
        outgoing = cast(asyncio.Transport, transport)
        outgoing.write(_too_many())
        outgoing.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._within is not None:
            self._admission.leave()
            self._within.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._within is not None:
            self._within.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._within is None else self._within.eof_received()

    def pause_writing(self) -> None:
        if self._within is not None:
            self._within.pause_writing()

    def resume_writing(self) -> None:
        if self._within is not None:
            self._within.resume_writing()


def _too_many() -> bytes:
    """A whole HTTP response, for a request that nobody reads."""
    body = members(ProblemResponse("too-many-connections"), secrets.token_hex(8))
    head = (
        "HTTP/1.1 503 Service Unavailable\r\n"
        "Content-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        f"Retry-After: {_RETRY_SECONDS}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body
