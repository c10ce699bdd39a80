"""A Receiving Server as a test writes it: bytes out, and what comes back until it is enough."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from types import TracebackType
from typing import Self

HEADER = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' "
    "xmlns:stream='http://etherx.jabber.org/streams' from='montague.example' "
    "to='capulet.example' version='1.0'>"
)
STARTTLS = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
END = "</stream:stream>"
_SECONDS = 30


def verify(
    key: str,
    *,
    stream: str = "D60000229F",
    sender: str = "capulet.example",
    target: str = "montague.example",
) -> str:
    return f"<db:verify from='{target}' to='{sender}' id='{stream}'>{key}</db:verify>"


def answer(
    kind: str = "valid",
    *,
    stream: str = "D60000229F",
    sender: str = "capulet.example",
    target: str = "montague.example",
) -> str:
    return f"<db:verify from='{sender}' to='{target}' id='{stream}' type='{kind}'"


def client_context(*, direct: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if direct:
        context.set_alpn_protocols(["xmpp-server"])
    return context


class ReceivingServer:
    """`async with ReceivingServer(address, port) as peer`, maybe from another address."""

    def __init__(
        self, address: str, port: int, *, direct_tls: bool = False, source: str | None = None
    ) -> None:
        self._place = (address, port)
        self._source = None if source is None else (source, 0)
        self._direct_tls = direct_tls
        self.said = ""

    async def __aenter__(self) -> Self:
        context = client_context(direct=True) if self._direct_tls else None
        self._reader, self.writer = await asyncio.open_connection(
            *self._place,
            ssl=context,
            server_hostname="capulet.example" if context else None,
            local_addr=self._source,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.writer.transport.abort()

    def reset_at_the_end(self) -> None:
        """The connection is not to be closed in order but to break."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def send(self, text: str) -> None:
        self.writer.write(text.encode())

    async def until(self, text: str, count: int = 1) -> str:
        """Return all that was said once `text` came `count` times."""
        async with asyncio.timeout(_SECONDS):
            while self.said.count(text) < count:
                data = await self._reader.read(65_536)
                assert data, f"expected {text!r}, got the end after {self.said!r}"
                self.said += data.decode()
        return self.said

    async def end(self) -> str:
        """Return all that was said once the connection is at its end."""
        async with asyncio.timeout(_SECONDS):
            while data := await self._reader.read(65_536):
                self.said += data.decode()
        return self.said

    async def open(self, header: str = HEADER) -> str:
        """Send the header and wait for the features."""
        self.send(header)
        return await self.until("</stream:features>")

    async def starttls(self) -> None:
        """Go on inside TLS; the stream's header has been answered."""
        self.send(STARTTLS)
        await self.until("<proceed")
        await self.writer.start_tls(client_context(), server_hostname="capulet.example")
        self.said = ""
