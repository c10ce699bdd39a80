"""Inbound handshakes: we are the Initiating Server and the Authoritative Server of its domain.

Every handshake comes from a sender domain that the server has never seen, so it looks up the
domain, connects to the Authoritative Server and asks there (XEP-0220 §2.1.2, §2.2).
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time

from bench.tls import Tls
from bench.wire import Attributes, Stream

_TIMEOUT_SECONDS = 20

_VALID_RESULT = b"<db:result from='%s' to='%s' type='valid'/>"
_VALID_VERIFY = b"<db:verify from='%s' to='%s' id='%s' type='valid'/>"
_RESULT = b"<db:result from='%s' to='%s'>%s</db:result>"


Streams = dict[bytes, "AuthoritativeStream"]


class AuthoritativeStream(Stream):
    """Calls every key valid.

    A Prosody that calls back presents a key of its own before it asks about ours: that one
    is accepted without asking.
    """

    _ids = itertools.count()

    def __init__(self, tls: Tls | None, streams: Streams) -> None:
        super().__init__(tls)
        self._streams = streams

    def next_stream_id(self) -> bytes:
        return b"a%d-%s" % (next(self._ids), secrets.token_hex(4).encode())

    def opened(self) -> None:
        self._streams[self.asked_for] = self

    def element(self, name: bytes, attributes: Attributes, text: bytes) -> None:
        if b"type" in attributes:
            return
        back = (attributes[b"to"], attributes[b"from"])
        if name == b"db:verify":
            self.transport.write(_VALID_VERIFY % (*back, attributes[b"id"]))
        elif name == b"db:result":
            self.transport.write(_VALID_RESULT % back)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._streams.get(self.asked_for) is self:
            del self._streams[self.asked_for]


class InitiatingStream(Stream):
    """Presents a key for a new domain pair and waits for the outcome."""

    def __init__(self, tls: Tls | None, *, sender: bytes, target: bytes) -> None:
        super().__init__(tls, sender=sender, target=target)
        self._key = secrets.token_hex(32).encode()
        self.outcome: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def opened(self) -> None:
        self.transport.write(_RESULT % (self._sender, self._target, self._key))

    def element(self, name: bytes, attributes: Attributes, text: bytes) -> None:
        if name == b"db:result" and not self.outcome.done():
            self.outcome.set_result(attributes.get(b"type", b""))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(ConnectionResetError("stream closed before the outcome"))


class Inbound:
    """Does inbound handshakes with a server; its Authoritative Servers listen on one address."""

    def __init__(self, zone: str, tls: Tls | None) -> None:
        self._zone = zone
        self._tls = tls
        self._numbers = itertools.count()
        self._run = secrets.token_hex(3)
        self._streams: Streams = {}

    def authoritative(self) -> AuthoritativeStream:
        """A protocol for the listener of the Authoritative Server."""
        return AuthoritativeStream(self._tls, self._streams)

    async def handshake(self, target: bytes, address: str, port: int) -> float:
        """Do one; return the seconds from TCP connect to `db:result type='valid'`.

        Both streams are closed at the end.
        """
        loop = asyncio.get_running_loop()
        sender = f"d{next(self._numbers)}-{self._run}.{self._zone}".encode()
        start = time.perf_counter()
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            _, stream = await loop.create_connection(
                lambda: InitiatingStream(self._tls, sender=sender, target=target), address, port
            )
            try:
                outcome = await stream.outcome
                seconds = time.perf_counter() - start
            finally:
                stream.close()
                if call_back := self._streams.pop(sender, None):
                    call_back.close()
        if outcome != b"valid":
            raise ConnectionRefusedError(f"expected a valid outcome, got {outcome!r}")
        return seconds
