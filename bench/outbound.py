"""Outbound handshakes: the server connects to us, who are the Receiving Server of a new domain.

Its key goes back to it in a verify request over a standing stream (XEP-0220 §2.1, §2.2.2).
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from dataclasses import dataclass

from bench.component import LocalSender
from bench.tls import Tls
from bench.wire import Attributes, Stream

_TIMEOUT_SECONDS = 20

_VERIFY = b"<db:verify from='%s' to='%s' id='%s'>%s</db:verify>"
_RESULT = b"<db:result from='%s' to='%s' type='%s'/>"


@dataclass(frozen=True)
class IssuedKey:
    """A key that the server under test issued, with what it is bound to."""

    sender: bytes
    target: bytes
    stream: bytes
    text: bytes

    @property
    def verify_request(self) -> bytes:
        return _VERIFY % (self.target, self.sender, self.stream, self.text)


class VerifierStream(Stream):
    """A standing stream to the server, over which keys are verified."""

    def __init__(
        self, tls: Tls | None, waiting: dict[bytes, ReceivingStream], **domains: bytes
    ) -> None:
        super().__init__(tls, **domains)
        self._waiting = waiting
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def opened(self) -> None:
        self.ready.set_result(None)

    def element(self, name: bytes, attributes: Attributes, text: bytes) -> None:
        if name == b"db:verify" and (waiting := self._waiting.pop(attributes[b"id"], None)):
            waiting.answer(attributes.get(b"type", b""))

    def ask(self, key: IssuedKey) -> None:
        self.transport.write(key.verify_request)


class ReceivingStream(Stream):
    """The stream of one domain pair; resolves `handshake` when the first stanza is here.

    With `holding` the key is handed to `issued` and the server left waiting for an outcome.
    """

    _ids = itertools.count()

    def __init__(self, tls: Tls | None, peers: Outbound) -> None:
        super().__init__(tls)
        self._peers = peers

    def next_stream_id(self) -> bytes:
        return b"r%d-%s" % (next(self._ids), secrets.token_hex(8).encode())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._accepted = time.perf_counter()

    def opened(self) -> None:
        self._peers.streams.add(self)

    def element(self, name: bytes, attributes: Attributes, text: bytes) -> None:
        if name == b"db:result":
            self._pair = (attributes[b"from"], attributes[b"to"])
            self._peers.received(self, IssuedKey(*self._pair, self.stream, text))
        elif name == b"message":
            self._peers.finished(self.asked_for, time.perf_counter() - self._accepted)
            self.close()

    def answer(self, outcome: bytes) -> None:
        """Tell the server what became of its key."""
        sender, target = self._pair
        if not self.transport.is_closing():
            self.transport.write(_RESULT % (target, sender, outcome))

    def connection_lost(self, exc: Exception | None) -> None:
        self._peers.streams.discard(self)


class Outbound:
    """Makes a server federate with domains of `zone`, which all have their server with us."""

    def __init__(self, zone: str, tls: Tls | None) -> None:
        self._zone = zone
        self._tls = tls
        self._numbers = itertools.count()
        self._run = secrets.token_hex(3)
        self._waiting: dict[bytes, ReceivingStream] = {}
        self._handshakes: dict[bytes, asyncio.Future[float]] = {}
        self._keys: dict[bytes, asyncio.Future[IssuedKey]] = {}
        self._verifier: VerifierStream | None = None
        self.streams: set[ReceivingStream] = set()

    def receiving(self) -> ReceivingStream:
        """A protocol for the listener of the Receiving Server."""
        return ReceivingStream(self._tls, self)

    async def open_verifier(self, server: str, address: str, port: int) -> None:
        """Open the standing stream; the one before is closed."""
        self.close_verifier()
        loop = asyncio.get_running_loop()
        domains = {"sender": f"verifier.{self._zone}".encode(), "target": server.encode()}
        _, self._verifier = await loop.create_connection(
            lambda: VerifierStream(self._tls, self._waiting, **domains), address, port
        )
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            await self._verifier.ready

    def close_verifier(self) -> None:
        if self._verifier is not None:
            self._verifier.close()

    async def handshake(self, local: LocalSender) -> float:
        """Do one; return the seconds from the accepted connection to the first stanza."""
        domain = self._new_domain()
        finished: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._handshakes[domain] = finished
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                local.send(domain)
                return await finished
        finally:
            del self._handshakes[domain]

    async def hold(self, local: LocalSender) -> IssuedKey:
        """Make the server issue a key, and leave it waiting on a stream that stays open."""
        domain = self._new_domain()
        issued: asyncio.Future[IssuedKey] = asyncio.get_running_loop().create_future()
        self._keys[domain] = issued
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                local.send(domain)
                return await issued
        finally:
            del self._keys[domain]

    async def close_streams(self) -> None:
        """Close all streams the server has with us."""
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            while self.streams:
                for stream in list(self.streams):
                    stream.close()
                await asyncio.sleep(0.05)

    def received(self, stream: ReceivingStream, key: IssuedKey) -> None:
        """A key came: ask the server about it, or keep it if it was made for holding."""
        if (held := self._keys.get(key.target)) is not None:
            held.set_result(key)
        elif self._verifier is not None:
            self._waiting[key.stream] = stream
            self._verifier.ask(key)

    def finished(self, domain: bytes, seconds: float) -> None:
        """The first stanza for `domain` came."""
        if (handshake := self._handshakes.get(domain)) is not None and not handshake.done():
            handshake.set_result(seconds)

    def _new_domain(self) -> bytes:
        return f"d{next(self._numbers)}-{self._run}.{self._zone}".encode()
