"""One XMPP stream to a server's component port, on slixmpp: bytes in, `iq` elements out.

slixmpp's `XMLStream` brings the transport, the stream header and the orderly end. Its reading is
replaced: stanzas split over segments stall it, and foreign bytes end up in its log. Its stanza
classes and its `ComponentXMPP` are left aside: five times the cost of an IQ, 100 ms of loading
certificates per connection, and answers of its own to whatever nobody handles.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Final, cast
from xml.etree.ElementTree import Element, ParseError

from slixmpp.xmlstream import XMLStream

from sidecar.component.faults import (
    CLOSED,
    NO_HANDSHAKE,
    NOT_A_COMPONENT_PORT,
    NOT_READING,
    Fault,
    stream_fault,
)
from sidecar.component.silence import silence_slixmpp
from sidecar.config import LinkConfig

MAX_STANZA_BYTES: Final = 512 * 1024
MAX_PROLOG_BYTES: Final = 4096
MAX_DEPTH: Final = 8
MAX_UNSENT_BYTES: Final = 256 * 1024
UNREAD_SECONDS: Final = 10.0

_Events = Iterator[tuple[str, Element]]

_STREAMS = "{http://etherx.jabber.org/streams}"
_STREAM_ERRORS = "{urn:ietf:params:xml:ns:xmpp-streams}"
_IQ = frozenset({"{jabber:component:accept}iq", "{jabber:client}iq"})
_HANDSHAKE = "{jabber:component:accept}handshake"
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used: made here, slixmpp makes none
_ROOT_BEGINS = re.compile(rb"\s*(<\?xml\s[^<>]*\?>\s*)?<[A-Za-z_:]")


class ComponentStream(XMLStream):
    """The stream of one connection; made for it and never used for another.

    `ready` is done when the server has accepted the handshake, `closed` when the connection is
    gone, with the reason. `on_iq` gets every `iq` after the handshake.
    """

    def __init__(
        self,
        config: LinkConfig,
        on_iq: Callable[[ComponentStream, Element], None],
        *,
        unread_seconds: float = UNREAD_SECONDS,
    ) -> None:
        super().__init__(ssl_context=_NO_TLS)
        silence_slixmpp()
        self.stream_header = (
            "<stream:stream xmlns='jabber:component:accept'"
            f" xmlns:stream='http://etherx.jabber.org/streams' to='{config.jid}'>"
        )
        self.stream_footer = "</stream:stream>"
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[Fault] = loop.create_future()
        self.heard_at_seconds = time.monotonic()  # not loop.time(): uvloop's is coarse and late
        self._own_jid = config.jid
        self._secret = config.secret
        self._on_iq = on_iq
        self._fault: Fault | None = None
        self._prolog = b""
        self._unfinished_bytes = 0
        self._unread_seconds = unread_seconds
        self._unread: asyncio.TimerHandle | None = None

    def drop(self, fault: Fault) -> None:
        """End the connection at once, for this reason."""
        self._fault = self._fault or fault
        self.abort()

    async def end(self, wait_seconds: float) -> None:
        """Close the stream in order: our end, the server's end, the connection."""
        if self.transport is not None:
            await self.disconnect(wait=wait_seconds)

    def reply(self, stanza: str) -> None:
        """Send one stanza; uvloop writes all of one turn of the event loop together.

        Without a connection it is dropped: nobody waits for it any more.
        """
        if self.transport is not None and not self.transport.is_closing():
            self.send_raw(stanza)

    def connection_made(self, transport: asyncio.BaseTransport, send_event: bool = True) -> None:
        cast(asyncio.WriteTransport, transport).set_write_buffer_limits(high=MAX_UNSENT_BYTES)
        super().connection_made(transport, send_event)

    def connection_lost(self, exception: BaseException | None) -> None:
        super().connection_lost(exception)
        self.resume_writing()
        if not self.closed.done():
            self.closed.set_result(self._fault or (CLOSED if self.ready.done() else NO_HANDSHAKE))

    def pause_writing(self) -> None:
        """The server does not read: read nothing more from it, and give it a little time."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
        self._unread = self.loop.call_later(self._unread_seconds, self.drop, NOT_READING)

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def data_received(self, data: bytes | str) -> None:
        if self.parser is None or self._fault is not None:
            return
        self.heard_at_seconds = time.monotonic()
        raw = cast(bytes, data)
        if self.xml_root is None and not self._is_plain_prolog(raw):
            return self.drop(NOT_A_COMPONENT_PORT)
        self._unfinished_bytes += len(raw)
        try:
            self.parser.feed(raw)
            self._flush()
            for event, element in cast(_Events, self.parser.read_events()):
                if event == "start":
                    self._started(element)
                else:
                    self._ended(element)
                if self._fault is not None or self.parser is None:
                    return
        except ParseError:
            self.drop(NOT_A_COMPONENT_PORT)
        if self._unfinished_bytes > MAX_STANZA_BYTES:
            self.drop(NOT_A_COMPONENT_PORT)

    def _is_plain_prolog(self, data: bytes) -> bool:
        """Whether what precedes the stream header holds no DOCTYPE, and so defines no entities.

        Once the root element has begun, XML allows none. A NUL shows encodings that could hide it.
        """
        if _ROOT_BEGINS.match(self._prolog):
            return True
        self._prolog += data
        if _ROOT_BEGINS.match(self._prolog):
            return True
        return (
            len(self._prolog) <= MAX_PROLOG_BYTES
            and b"<!" not in self._prolog
            and b"\0" not in self._prolog
        )

    def _flush(self) -> None:
        """Make expat read all it has: since 2.6 it may wait for more of a split element."""
        flush = getattr(self.parser, "flush", None)  # COMPAT(python before 3.11.9, 3.12.3): none
        if flush is not None:
            flush()

    def _started(self, element: Element) -> None:
        self.xml_depth += 1
        if self.xml_depth == 1:
            if element.tag != _STREAMS + "stream":
                return self.drop(NOT_A_COMPONENT_PORT)
            self.xml_root = element
            self._unfinished_bytes = 0
            self._send_handshake(element.get("id", ""))
        elif self.xml_depth > MAX_DEPTH:
            self.drop(NOT_A_COMPONENT_PORT)

    def _ended(self, element: Element) -> None:
        self.xml_depth -= 1
        if self.xml_depth == 1:
            self._unfinished_bytes = 0
            self._stanza(element)
            if self.xml_root is not None:
                self.xml_root.clear()  # or the tree grows with every stanza
        elif self.xml_depth == 0:
            self.drop(CLOSED if self.ready.done() else NO_HANDSHAKE)

    def _stanza(self, element: Element) -> None:
        if element.tag in _IQ:
            if self.ready.done():
                self._on_iq(self, element)
        elif element.tag == _HANDSHAKE:
            if not self.ready.done():
                self.ready.set_result(None)
        elif element.tag == _STREAMS + "error":
            condition, text = _stream_error(element)
            self.drop(stream_fault(condition, text, self._own_jid))

    def _send_handshake(self, stream_id: str) -> None:
        """Prove the component secret (XEP-0114 §3, step 3; SHA-1 is what the protocol has)."""
        proof = hashlib.sha1(stream_id.encode() + self._secret.reveal(), usedforsecurity=False)
        self.send_raw(f"<handshake>{proof.hexdigest()}</handshake>")


def _stream_error(element: Element) -> tuple[str, str]:
    """Return condition and text of a stream error (RFC 6120 §4.9.2)."""
    condition, text = "undefined-condition", ""
    for child in element:
        if child.tag == _STREAM_ERRORS + "text":
            text = child.text or ""
        elif child.tag.startswith(_STREAM_ERRORS):
            condition = child.tag.rpartition("}")[2]
    return condition, text
