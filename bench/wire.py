"""Server-to-server streams as bytes: what the peers write, and a base class that reads.

Nothing here is a parser of XML: the peers talk to servers they started themselves, and must
cost little beside them.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
from typing import cast

from bench.tls import Tls

Attributes = dict[bytes, bytes]

_NAMESPACES = (
    b"xmlns='jabber:server' xmlns:db='jabber:server:dialback' "
    b"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'"
)
_TLS = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
_PROCEED = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
_DIALBACK = b"<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"
_FEATURES = b"<stream:features>%s</stream:features>"

_HEADER = re.compile(rb"<stream:stream\s([^>]*)>")
_ELEMENT = re.compile(rb"\s*<([a-zA-Z:]+)((?:\s[^>]*?)?)(?:/>|>(.*?)</\1>)", re.DOTALL)
_ATTRIBUTE = re.compile(rb"([\w:]+)\s*=\s*(?:'([^']*)'|\"([^\"]*)\")")
_CLOSE = b"</stream:stream>"


def attributes(text: bytes) -> Attributes:
    """The attributes in the inside of a start tag, as they stand there."""
    return {name: one or two for name, one, two in _ATTRIBUTE.findall(text)}


def stream_header(*, sender: bytes, target: bytes, stream: bytes | None = None) -> bytes:
    """A stream header; with `stream`, the response header that carries this stream ID."""
    identity = b"" if stream is None else b" id='%s'" % stream
    return b"<stream:stream %s from='%s' to='%s'%s>" % (_NAMESPACES, sender, target, identity)


class Stream(asyncio.Protocol):
    """One end of a stream. Subclasses act in `opened`, `element` and `connection_lost`.

    As the end that connects (`sender` given) it writes the header first; as the end that was
    connected to, it answers one and sends features. With `tls` it negotiates STARTTLS first,
    and `opened` is called once, when that is done. `asked_for` is the domain that the other
    end's header was addressed to.
    """

    transport: asyncio.Transport

    def __init__(self, tls: Tls | None, *, sender: bytes = b"", target: bytes = b"") -> None:
        self._tls = tls
        self._sender = sender
        self._target = target
        self._encrypted = False
        self._header_read = False
        self._pending = b""
        self.stream = b""
        self.asked_for = b""

    # what subclasses fill in

    def opened(self) -> None:
        """The peer's header is here, and on the connecting end its features too."""

    def element(self, name: bytes, attributes: Attributes, text: bytes) -> None:
        """One element directly inside the stream."""

    def next_stream_id(self) -> bytes:
        """The stream ID for a response header."""
        return secrets.token_hex(8).encode()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._socket: socket.socket | None = transport.get_extra_info("socket")
        if self._sender:
            self._write_header()

    def data_received(self, data: bytes) -> None:
        self._acknowledge_at_once()
        self._pending += data
        if not self._header_read and not self._read_header():
            return
        while match := _ELEMENT.match(self._pending):
            self._pending = self._pending[match.end() :]
            if not self._negotiated(match[1]):
                self.element(match[1], attributes(match[2]), match[3] or b"")
        if self._pending.lstrip().startswith(_CLOSE):
            self.close()

    def close(self) -> None:
        """Close the stream and its connection."""
        if not self.transport.is_closing():
            self.transport.write(_CLOSE)
            self.transport.close()

    def _acknowledge_at_once(self) -> None:
        """Spare a server with Nagle's algorithm the 40 ms of a delayed acknowledgement."""
        if self._socket is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _write_header(self) -> None:
        self.transport.write(stream_header(sender=self._sender, target=self._target))

    def _read_header(self) -> bool:
        match = _HEADER.search(self._pending)
        if match is None:
            return False
        self._pending = self._pending[match.end() :]
        self._header_read = True
        found = attributes(match[1])
        if self._sender:
            self.stream = found[b"id"]
            return True
        self.stream = self.next_stream_id()
        self.asked_for = found.get(b"to", b"")
        offer = _DIALBACK if self._tls is None or self._encrypted else _TLS
        header = stream_header(
            sender=self.asked_for, target=found.get(b"from", b""), stream=self.stream
        )
        self.transport.write(header + _FEATURES % offer)
        if offer is _DIALBACK:
            self.opened()
        return True

    def _negotiated(self, name: bytes) -> bool:
        """Handle what belongs to the opening of the stream; False when the rest is concerned."""
        if name == b"stream:features":
            if self._tls is not None and not self._encrypted:
                self.transport.write(_TLS)
            else:
                self.opened()
        elif name == b"starttls":
            self.transport.pause_reading()
            self.transport.write(_PROCEED)
            self._start_tls()
        elif name == b"proceed":
            self.transport.pause_reading()
            self._start_tls()
        else:
            return False
        return True

    def _start_tls(self) -> None:
        self._header_read = False
        self._encrypted = True
        self._handshake = asyncio.ensure_future(self._encrypt())

    async def _encrypt(self) -> None:
        assert self._tls is not None
        loop = asyncio.get_running_loop()
        context = self._tls.connecting if self._sender else self._tls.accepting
        try:
            transport = await loop.start_tls(
                self.transport, self, context, server_side=not self._sender
            )
        except OSError:
            self.transport.abort()
            return
        assert transport is not None
        self.transport = transport
        if self._sender:
            self._write_header()
