"""The server's end of a component link (XEP-0114): shakes hands at a steady rate."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from types import TracebackType
from typing import Self
from xml.etree.ElementTree import Element, fromstring

from sidecar.protocol.link_mac import LinkKey, canonical_request
from sidecar.protocol.link_stanzas import NAMESPACE

DOMAIN = "capulet.example"
_HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' "
    b"xmlns:stream='http://etherx.jabber.org/streams' id='s1' from='dialback.capulet.example'>"
)
_REPLY = re.compile(rb"<iq [^>]*?\bid=['\"](\d+)['\"][^>]*>(.*?)</iq>", re.DOTALL)
_NAME = re.compile(r"(<\w+)(.*)", re.DOTALL)
_KEY = re.compile(rb"<key [^>]*>([^<]+)</key>")


def issued_key(reply: bytes) -> str | None:
    """The key in a reply to an issue; None when there is none."""
    found = _KEY.search(reply)
    return found and found[1].decode()


class LinkServer:
    """One component may connect. `seconds` has the time of every handshake that was answered."""

    jid = "dialback.capulet.example"
    secret = "s3cr3t-of-the-bench"
    port = 0

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.failed = 0
        self._key = LinkKey(self.secret.encode())
        self._ids = itertools.count(1)
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._linked = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        self._server.close()

    async def linked(self) -> None:
        """Return once the component is connected."""
        async with asyncio.timeout(30):
            await self._linked.wait()

    async def drop(self) -> None:
        """End the connection and return once the component is back."""
        assert self._writer is not None
        self._linked.clear()
        self._writer.close()
        await self.linked()

    async def shake_hands(self, rate: float) -> None:
        """Begin `rate` handshakes a second, whatever becomes of them."""
        begun = time.perf_counter()
        for number in itertools.count():
            task = asyncio.create_task(self._handshake(number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))

    async def _handshake(self, number: int) -> None:
        """Ask for a key, and ask whether it is valid, as two servers do."""
        triple = f"sender='{DOMAIN}' target='d{number % 500}.example' stream='S{number}'"
        start = time.perf_counter()
        key = issued_key(await self.ask("set", f"<issue {triple}></issue>"))
        if key is not None:
            said = await self.ask("get", f"<verify {triple}>{key}</verify>")
            if b"valid" in said and b"invalid" not in said:
                self.seconds.append(time.perf_counter() - start)
                return
        self.failed += 1

    async def ask(self, kind: str, payload: str) -> bytes:
        """Send an iq of type `kind`; return what is in the reply. `payload` gets its MAC here."""
        assert self._writer is not None
        number = str(next(self._ids))
        attributes = {"type": kind, "id": number, "from": DOMAIN, "to": self.jid}
        mac = self._key.mac(canonical_request(Element("iq", attributes), fromstring(payload)))
        written = " ".join(f"{name}='{value}'" for name, value in attributes.items())
        parts = _NAME.match(payload)
        assert parts is not None
        name, rest = parts.groups()
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number.encode()] = future
        stanza = f"<iq {written}>{name} xmlns='{NAMESPACE}' mac='{mac}'{rest}</iq>"
        self._writer.write(stanza.encode())
        return await future

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"<stream:stream")
        await reader.readuntil(b">")
        writer.write(_HEADER)
        await reader.readuntil(b"</handshake>")
        writer.write(b"<handshake/>")
        self._writer = writer
        self._linked.set()
        buffered = b""
        while data := await reader.read(65536):
            buffered += data
            end = 0
            for reply in _REPLY.finditer(buffered):
                end = reply.end()
                future = self._waiting.pop(reply[1], None)
                if future is not None:
                    future.set_result(reply[2])
            buffered = buffered[end:]
