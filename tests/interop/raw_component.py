"""XEP-0114 from both sides: a component that sends what it likes, and a stranger as the server."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from types import TracebackType
from typing import Self
from xml.etree.ElementTree import Element

from raw_stream import RawStream

NAMESPACE = "jabber:component:accept"
IQ = f"{{{NAMESPACE}}}iq"
_HANDSHAKE = f"{{{NAMESPACE}}}handshake"


async def connect_component(jid: str, secret: str, address: str, port: int) -> RawStream:
    """Return the stream of a component that the server has let in."""
    stream = await RawStream.connect(address, port, namespace=NAMESPACE)
    await stream.send_header(to=jid)
    header = await stream.wait_header()
    proof = hashlib.sha1((header["id"] + secret).encode()).hexdigest()
    await stream.send(f"<handshake>{proof}</handshake>")
    await stream.receive(_HANDSHAKE)
    return stream


class FakeServer:
    """Whoever binds the component port while the server is down: lets every component in.

    `async with FakeServer(address, port) as fake: stream = await fake.component()`.
    """

    def __init__(self, address: str, port: int) -> None:
        self._place = (address, port)
        self._let_in: asyncio.Queue[RawStream] = asyncio.Queue()
        self._streams: list[RawStream] = []

    async def component(self, *, timeout_seconds: float = 60) -> RawStream:
        """Return the stream of the next component that connected."""
        async with asyncio.timeout(timeout_seconds):
            return await self._let_in.get()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = RawStream(reader, writer, namespace=NAMESPACE)
        self._streams.append(stream)
        stream.start_reading()
        header = await stream.wait_header()
        await stream.send_header(from_=header.get("to", ""), id=secrets.token_hex(8))
        await stream.receive(_HANDSHAKE)
        await stream.send("<handshake/>")
        self._let_in.put_nowait(stream)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, *self._place)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._server.close()
        for stream in self._streams:
            stream.abort()


async def ask(stream: RawStream, iq: str, id: str) -> Element:
    """Send an iq with that id and return the answer to it."""
    await stream.send(iq)
    return await stream.receive(IQ, where=lambda element: element.get("id") == id)
