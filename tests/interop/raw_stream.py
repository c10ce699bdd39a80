"""One XMPP stream in our hands: any bytes out, whole elements in, every dialback key noted.

Nothing is checked and nothing is answered by itself, because peers that break the rules are
what it is for. Elements are `xml.etree` ones with names as `{namespace}local`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Self, cast
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

STREAM = "{http://etherx.jabber.org/streams}"
DIALBACK = "{jabber:server:dialback}"
TLS = "{urn:ietf:params:xml:ns:xmpp-tls}"
STREAM_ERROR = "{urn:ietf:params:xml:ns:xmpp-streams}"
STANZA_ERROR = "{urn:ietf:params:xml:ns:xmpp-stanzas}"

PATIENCE_SECONDS = 15.0
"""How long anything may take on a busy machine before it counts as a hang."""

keys_on_the_wire: set[str] = set()
"""The text of every db:result and db:verify that a raw stream sent or received."""


class StreamEnded(Exception):
    """The other end closed the stream; `elements` is what it said since the last `receive`."""


class RawStream:
    """A connection and the stream on it. Both ends of s2s, component and c2s streams use it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, namespace: str
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._namespace = namespace
        self.header: dict[str, str] = {}
        """The attributes of the other end's latest stream header."""
        self.sent_headers: list[dict[str, str]] = []
        """The attributes of our own stream headers."""
        self.elements: list[Element] = []
        """What arrived and nobody took with `receive`."""
        self.everything: list[Element] = []
        """What arrived, all of it."""
        self.said = bytearray()
        """The bytes of the other end's latest stream: what parsing does not show."""
        self.ended = False
        self.encrypted = False
        self._changed = asyncio.Event()
        self._on_header: asyncio.Event = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self.restart()

    @classmethod
    async def connect(cls, address: str, port: int, *, namespace: str = "jabber:server") -> Self:
        reader, writer = await asyncio.open_connection(address, port)
        stream = cls(reader, writer, namespace=namespace)
        stream.start_reading()
        return stream

    # out

    async def send(self, xml: str) -> None:
        """Send XML as it is; into the void when the other end has closed."""
        if self.ended:
            return
        self._writer.write(xml.encode())
        try:
            await self._writer.drain()
        except ConnectionError:
            pass

    async def send_header(self, **attributes: str) -> None:
        """Send a stream header; `from_` stands for `from`."""
        self.sent_headers.append({name.rstrip("_"): text for name, text in attributes.items()})
        shown = "".join(f" {name}='{text}'" for name, text in self.sent_headers[-1].items())
        await self.send(
            f"<?xml version='1.0'?><stream:stream xmlns='{self._namespace}'"
            " xmlns:stream='http://etherx.jabber.org/streams'"
            f" xmlns:db='jabber:server:dialback'{shown}>"
        )

    async def db_result(self, *, sender: str, target: str, key: str, **more: str) -> None:
        """Send a dialback request: the Initiating Server's key for a domain pair."""
        await self._dialback("result", key, from_=sender, to=target, **more)

    async def db_verify(self, *, sender: str, target: str, stream: str, key: str) -> None:
        """Send a verify request, as the target's server does to the sender's."""
        await self._dialback("verify", key, from_=target, to=sender, id=stream)

    async def answer_result(self, *, sender: str, target: str, type: str) -> None:
        """Send a dialback result about a domain pair, asked for or not."""
        await self._dialback("result", "", from_=target, to=sender, type=type)

    async def answer_verify(self, *, sender: str, target: str, stream: str, type: str) -> None:
        """Send a verify response about a domain pair, asked for or not."""
        await self._dialback("verify", "", from_=sender, to=target, id=stream, type=type)

    async def _dialback(self, name: str, key: str, **attributes: str) -> None:
        if key:
            keys_on_the_wire.add(key)
        shown = "".join(f" {name.rstrip('_')}='{text}'" for name, text in attributes.items())
        await self.send(f"<db:{name}{shown}>{key}</db:{name}>")

    async def close(self) -> None:
        """Close the stream, and give the other end a moment to do the same."""
        await self.send("</stream:stream>")
        with suppress(TimeoutError):
            await self.wait_ended(timeout_seconds=2)
        self.abort()

    def abort(self) -> None:
        """Drop the connection without a word."""
        if self._reading is not None:
            self._reading.cancel()
        with suppress(AttributeError):  # COMPAT(python 3.11.4): TLS that is over has no abort
            self._writer.transport.abort()
        self._end()

    # TLS

    async def start_tls(
        self, context: ssl.SSLContext, server_name: str | None = None, *, first: str = ""
    ) -> None:
        """Send `first`, put TLS under the stream and forget everything said before."""
        cast(asyncio.Transport, self._writer.transport).pause_reading()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self.send(first)
        await self._writer.start_tls(context, server_hostname=server_name)
        self.encrypted = True
        self.restart()
        self.start_reading()

    # in

    async def wait_header(self) -> dict[str, str]:
        """Return the attributes of the other end's stream header."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._on_header.wait()
        if not self.header:
            raise StreamEnded("no stream header")
        return self.header

    async def receive(
        self,
        *names: str,
        where: Callable[[Element], bool] = lambda element: True,
        timeout_seconds: float = PATIENCE_SECONDS,
    ) -> Element:
        """Return, and take, the first element that has one of `names` and fits `where`.

        Raises StreamEnded when the stream ended without one, TimeoutError when none came.
        """
        async with asyncio.timeout(timeout_seconds):
            while True:
                for place, element in enumerate(self.elements):
                    if (not names or element.tag in names) and where(element):
                        return self.elements.pop(place)
                if self.ended:
                    raise StreamEnded([shown(element) for element in self.elements])
                self._changed.clear()
                await self._changed.wait()

    async def wait_seen(
        self,
        name: str,
        *,
        where: Callable[[Element], bool] = lambda element: True,
        timeout_seconds: float = PATIENCE_SECONDS,
    ) -> Element:
        """Like `receive`, for elements that somebody else may have taken already."""
        async with asyncio.timeout(timeout_seconds):
            while True:
                for element in self.everything:
                    if element.tag == name and where(element):
                        return element
                if self.ended:
                    raise StreamEnded([shown(element) for element in self.everything])
                self._changed.clear()
                await self._changed.wait()

    async def wait_ended(self, *, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Return when the other end has closed the connection; its words stay in `elements`."""
        async with asyncio.timeout(timeout_seconds):
            while not self.ended:
                self._changed.clear()
                await self._changed.wait()

    @property
    def stream_error(self) -> str | None:
        """The condition of the stream error that arrived, if one did."""
        for element in self.everything:
            if element.tag == STREAM + "error":
                return element[0].tag.removeprefix(STREAM_ERROR)
        return None

    def start_reading(self) -> None:
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(65536):
                self.said += data
                self._parser.Parse(data, False)
        except (OSError, expat.ExpatError):
            pass
        self._end()

    def _end(self) -> None:
        self.ended = True
        self._on_header.set()
        self._changed.set()

    def restart(self) -> None:
        """Expect a new stream header, after TLS or SASL."""
        self.header = {}
        self.elements.clear()
        self.said.clear()
        self._on_header.clear()
        self._depth = 0
        self._builder = TreeBuilder()
        self._parser = expat.ParserCreate(namespace_separator="}")
        self._parser.buffer_text = True
        if hasattr(self._parser, "SetReparseDeferralEnabled"):
            self._parser.SetReparseDeferralEnabled(False)
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._finish
        self._parser.CharacterDataHandler = self._text

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1:
            self.header = {_clark(key): text for key, text in attributes.items()}
            self._on_header.set()
        else:
            self._builder.start(_clark(name), {_clark(k): text for k, text in attributes.items()})

    def _text(self, text: str) -> None:
        if self._depth > 1:
            self._builder.data(text)

    def _finish(self, name: str) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._writer.close()
            self._end()
            return
        element = self._builder.end(_clark(name))
        if self._depth == 1:
            self._builder = TreeBuilder()
            if element.tag in (DIALBACK + "result", DIALBACK + "verify") and element.text:
                keys_on_the_wire.add(element.text.strip())
            self.elements.append(element)
            self.everything.append(element)
            self._changed.set()


def condition(element: Element) -> str | None:
    """The stanza error condition inside a dialback error or an error stanza."""
    for inside in element.iter():
        if isinstance(inside.tag, str) and inside.tag.startswith(STANZA_ERROR):
            return inside.tag.removeprefix(STANZA_ERROR)
    return None


def shown(element: Element) -> str:
    """An element for an assertion's message."""
    return f"<{element.tag} {element.attrib}>"


def _clark(name: str) -> str:
    return "{" + name if "}" in name else name
