"""An external component (XEP-0114): a local sender that makes the server federate."""

from __future__ import annotations

import asyncio
import hashlib

_HEADER = (
    b"<stream:stream xmlns='jabber:component:accept' "
    b"xmlns:stream='http://etherx.jabber.org/streams' to='%s'>"
)
_MESSAGE = b"<message from='load@%s' to='someone@%s' type='normal'><body>hello</body></message>"
_CONNECT_SECONDS = 10


class LocalSender:
    """Sends messages from its component's domain to anywhere; reads and forgets what comes back."""

    def __init__(self, domain: bytes, writer: asyncio.StreamWriter, drain: asyncio.Task[None]):
        self._domain = domain
        self._writer = writer
        self._drain = drain

    def send(self, target: bytes) -> None:
        """Send one message to a user of `target`."""
        self._writer.write(_MESSAGE % (self._domain, target))

    async def close(self) -> None:
        self._drain.cancel()
        self._writer.close()


async def connect(domain: str, secret: str, address: str, port: int) -> LocalSender:
    """Connect and authenticate the component `domain`. Raises ConnectionRefusedError."""
    name = domain.encode()
    async with asyncio.timeout(_CONNECT_SECONDS):
        reader, writer = await asyncio.open_connection(address, port)
        writer.write(_HEADER % name)
        header = await reader.readuntil(b"<stream:stream") + await reader.readuntil(b">")
        quote = b"id='" if b"id='" in header else b'id="'
        stream = header.partition(quote)[2].partition(quote[-1:])[0]
        digest = hashlib.sha1(stream + secret.encode()).hexdigest()
        writer.write(b"<handshake>%s</handshake>" % digest.encode())
        answer = await reader.readuntil(b">")
    if b"handshake" not in answer:
        raise ConnectionRefusedError(f"component {domain} was not accepted")
    return LocalSender(name, writer, asyncio.create_task(_forget(reader)))


async def _forget(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass
