"""A server end of XEP-0114 that a test plays by hand, one connection at a time."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from xml.etree.ElementTree import Element, XMLPullParser, fromstring

from sidecar.config import LinkConfig
from sidecar.config.link_domains import LinkDomains
from sidecar.config.types import Secret
from sidecar.jobs import Job, Report, Verdict, Verify
from sidecar.names import DialbackKey, Domain
from sidecar.protocol.link_mac import (
    LinkKey,
    canonical_element,
    canonical_reply,
    canonical_request,
)

JID = "dialback.capulet.example"
SECRET = b"s3cr3t-of-the-link"
KEY_TEXT = "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3"
NS = "urn:dialback-sidecar:1"
HEADER = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' "
    "xmlns:stream='http://etherx.jabber.org/streams' from='{jid}' id='{id}'>"
)


def link_config(
    port: int,
    *,
    host: str = "127.0.0.1",
    domains: tuple[str, ...] = ("capulet.example",),
    secret: bytes = SECRET,
    jid: str = JID,
) -> LinkConfig:
    return LinkConfig(
        jid=Domain.parse(jid),
        secret_file=Path("secret"),
        domains=LinkDomains(domains),
        host=host,
        port=port,
        secret=Secret(secret),
    )


def request(payload: str, *, kind: str = "get", secret: bytes = SECRET, **iq: str) -> str:
    """Return a request as a module sends it; `from_`, `to` and `id` may be given."""
    attributes = {
        "type": kind,
        "id": iq.get("id", secrets.token_hex(12)),
        "from": iq.get("from_", "capulet.example"),
        "to": iq.get("to", JID),
    }
    mac = LinkKey(secret).mac(canonical_request(Element("iq", attributes), fromstring(payload)))
    written = " ".join(f"{name}='{value}'" for name, value in attributes.items())
    name, rest = re.split(r"(?<=\w)(?=[\s/>])", payload, maxsplit=1)
    return f"<iq {written}>{name} xmlns='{NS}' mac='{mac}'{rest}</iq>"


VERIFY = (
    "<verify sender='capulet.example' target='montague.example' stream='D60000229F'>"
    f"{KEY_TEXT}</verify>"
)
ISSUE = "<issue sender='capulet.example' target='montague.example' stream='D60000229F'></issue>"
CHECK = (
    "<check sender='montague.example' target='capulet.example' stream='D60000229F'>"
    f"<key>{KEY_TEXT}</key></check>"
)
REPORT = (
    "<report><outcome role='initiating' mechanism='dialback' sender='capulet.example'"
    " target='montague.example' stream='D60000229F' type='valid'/></report>"
)


def reply_is_signed(reply: Element, asked: str, secret: bytes = SECRET) -> bool:
    """Whether `reply` carries the MAC of an answer to exactly `asked`."""
    request_mac = fromstring(asked)[0].get("mac", "")
    mac = LinkKey(secret).mac(canonical_reply(request_mac, canonical_element(reply[0])))
    return reply[0].get("mac") == mac


class Answers:
    """An answerer that says what it is told to, and remembers what it was asked."""

    def __init__(
        self, says: Callable[[Job], DialbackKey | Verdict | None] = lambda _: Verdict.valid()
    ) -> None:
        self.asked: list[Job] = []
        self.timeouts: list[float] = []
        self.held: asyncio.Event | None = None
        self._says = says

    def hold(self) -> asyncio.Event:
        """Answer nothing until the returned event is set."""
        self.held = asyncio.Event()
        return self.held

    async def answer(self, job: Job, *, timeout_seconds: float) -> DialbackKey | Verdict | None:
        self.asked.append(job)
        self.timeouts.append(timeout_seconds)
        if self.held is not None:
            await self.held.wait()
        return None if isinstance(job, Report) else self._says(job)

    async def verify_all(
        self, asked: Sequence[Verify], *, timeout_seconds: float
    ) -> Sequence[Verdict]:
        said = [await self.answer(job, timeout_seconds=timeout_seconds) for job in asked]
        return [verdict for verdict in said if isinstance(verdict, Verdict)]


class Connection:
    """The server's end of one component stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self._parser = XMLPullParser(("start", "end"))
        self._depth = 0
        self.stanzas: asyncio.Queue[Element] = asyncio.Queue()
        self.header: asyncio.Future[Element] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(65536):
                self._parser.feed(data)
                for event, element in self._parser.read_events():
                    self._take(str(event), element)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.ended.set()

    def _take(self, event: str, element: Any) -> None:
        if event == "start":
            self._depth += 1
            if self._depth == 1:
                self.header.set_result(element)
            return
        self._depth -= 1
        if self._depth == 1:
            self.stanzas.put_nowait(element)
        elif self._depth == 0:
            self.ended.set()

    def stop_reading(self) -> None:
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def write(self, text: str) -> None:
        self.writer.write(text.encode())

    async def write_bytewise(self, text: str) -> None:
        """Write so that every byte is a segment of its own."""
        for byte in text.encode():
            self.writer.write(bytes([byte]))
            await self.writer.drain()
            await asyncio.sleep(0)

    async def next(self) -> Element:
        async with asyncio.timeout(10):
            return await self.stanzas.get()

    async def ask(self, stanza: str) -> Element:
        self.write(stanza)
        return await self.next()

    async def fence(self) -> None:
        """Return when everything written so far has been judged; anything said about it fails."""
        asked = request(VERIFY)
        reply = await self.ask(asked)
        assert reply.get("id") == fromstring(asked).get("id"), reply.attrib

    async def open(self, secret: bytes = SECRET) -> None:
        """Answer the header and accept a right handshake."""
        await asyncio.wait_for(self.header, 10)
        stream_id = secrets.token_hex(8)
        self.write(HEADER.format(jid=JID, id=stream_id))
        handshake = await self.next()
        assert handshake.tag == "{jabber:component:accept}handshake"
        assert handshake.text == hashlib.sha1(stream_id.encode() + secret).hexdigest()
        self.write("<handshake/>")

    async def refuse(self, condition: str, text: str = "") -> None:
        """Answer the header, and the handshake with a stream error."""
        await asyncio.wait_for(self.header, 10)
        self.write(HEADER.format(jid=JID, id="x"))
        await self.next()
        ns = "urn:ietf:params:xml:ns:xmpp-streams"
        said = f"<text xmlns='{ns}'>{text}</text>" if text else ""
        self.write(f"<stream:error><{condition} xmlns='{ns}'/>{said}</stream:error>")
        self.write("</stream:stream>")
        await asyncio.wait_for(self.ended.wait(), 10)
        self.close()

    def close(self) -> None:
        self.writer.close()

    async def stopped(self) -> None:
        """Return when nothing of this connection runs any more."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


class ScriptedServer:
    """`async with ScriptedServer() as server`, then `await server.accept()` per connection."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._waiting: asyncio.Queue[Connection] = asyncio.Queue()
        self._all: list[Connection] = []
        self._server: asyncio.Server | None = None

    async def accept(self) -> Connection:
        async with asyncio.timeout(10):
            return await self._waiting.get()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        self._all.append(connection)
        self._waiting.put_nowait(connection)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._all:
            connection.close()
            await connection.stopped()
