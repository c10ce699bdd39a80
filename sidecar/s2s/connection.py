"""One connection that drives a VerifyStream: feed, take events, write, dispatch."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.protocol.events import Event, TlsWanted
from sidecar.protocol.verify_stream import VerifyStream
from sidecar.s2s.tls import TlsLayer

_LAST_WORDS_SECONDS = 2.0
_AT_ONCE_BYTES = 16_384
_MOST_OVERHEAD_BYTES = 65_536
"""Room for long chains of certificates. New keys, which TLS lets a peer send without end, cost us
far more than they cost the peer."""


@dataclass(frozen=True, slots=True)
class TlsFailed:
    """The TLS handshake or session broke; nothing more comes."""

    detail: str


@dataclass(frozen=True, slots=True)
class TlsEstablished:
    """The TLS handshake is done; `certificate` (DER) is what the peer has shown, unjudged."""

    certificate: bytes
    version: str


ConnectionEvent = Event | TlsEstablished | TlsFailed


def _ignore(event: ConnectionEvent) -> None:
    """After the end of the connection: who listened can be forgotten together with it."""


class VerifyConnection(asyncio.Protocol):
    """Bytes between a transport and a VerifyStream, through TLS where the stream wants it.

    `domain` is what SNI names; with `direct_tls` the TLS handshake comes before the stream.
    `on_event` is called for every event in order.
    """

    def __init__(
        self,
        stream: VerifyStream,
        *,
        domain: Domain,
        context: ssl.SSLContext,
        direct_tls: bool,
        on_event: Callable[[ConnectionEvent], None],
    ) -> None:
        self._stream = stream
        self._domain = domain
        self._context = context
        self._direct_tls = direct_tls
        self._on_event = on_event
        self._transport: asyncio.Transport | None = None
        self._tls: TlsLayer | None = None
        self._failed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._direct_tls:
            self._start_tls()
        else:
            self._flush()

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), _AT_ONCE_BYTES):
            if self._failed:
                return
            self._receive(data[start : start + _AT_ONCE_BYTES])

    def _receive(self, data: bytes) -> None:
        if self._tls is not None:
            established = self._tls.established
            try:
                data = self._tls.receive(data)
            except ssl.SSLError as error:
                self._tls_failed(error)
                return
            if self._tls.overhead_bytes > _MOST_OVERHEAD_BYTES:
                self._fail("too much beside the stream")
                return
            if self._tls.established and not established:
                self._on_event(TlsEstablished(self._tls.certificate, self._tls.version))
                if self._failed:
                    return
                if not self._direct_tls:
                    self._stream.tls_established()
        if data:
            self._stream.receive_data(data)
        if self._tls is not None and self._tls.ended:
            self._stream.receive_eof()
        self._flush()

    def eof_received(self) -> None:
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._end()
        self._stream.release()
        self._on_event = _ignore

    def verify(self, pair: DomainPair, stream_id: StreamId, key: DialbackKey) -> None:
        """Ask one more question, now or as soon as the stream is open. Raises ValueError when it
        is being asked already, or the stream is over."""
        self._stream.verify(pair, stream_id, key)
        if self._transport is not None:
            self._flush()

    def certificates(self) -> tuple[bytes, ...]:
        """What the server has shown, leaf first, DER; nothing on cleartext."""
        return self._tls.chain() if self._tls is not None and self._tls.established else ()

    def close(self) -> None:
        """End the stream, TLS and the connection; what was written is still sent."""
        if not self._failed:
            self._stream.close()
            self._flush()
            if self._tls is not None:
                self._tls.close()
                self._write(self._tls.data_to_send())
        self._hang_up()

    def abandon(self) -> None:
        """End the connection without another word: what is still to be sent is not."""
        self._failed = True
        self._hang_up()

    def _hang_up(self) -> None:
        """A server that does not read what is on its way does not keep the connection for that."""
        if self._transport is not None:
            self._transport.close()
            if self._transport.get_write_buffer_size():
                loop = asyncio.get_running_loop()
                loop.call_later(_LAST_WORDS_SECONDS, self._transport.abort)

    def _end(self) -> None:
        if self._failed:
            return
        if self._tls is not None and not self._tls.established:
            self._fail("connection closed during the handshake")
            return
        self._stream.receive_eof()
        self._dispatch()

    def _flush(self) -> None:
        """Write what the stream has to say, then tell what happened."""
        if self._tls is None:
            self._write(self._stream.data_to_send())
        elif self._tls.established:
            try:
                self._tls.send(self._stream.data_to_send())
            except ssl.SSLError as error:
                self._tls_failed(error)
                return
        if self._tls is not None:
            self._write(self._tls.data_to_send())
        self._dispatch()

    def _dispatch(self) -> None:
        for event in self._stream.events():
            self._on_event(event)
            if isinstance(event, TlsWanted) and not self._stream.closed:
                self._start_tls()

    def _start_tls(self) -> None:
        try:
            self._tls = TlsLayer(self._context, self._domain)
        except (ssl.SSLError, ValueError) as error:
            self._tls_failed(error)
            return
        self._write(self._tls.data_to_send())

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data)

    def _tls_failed(self, error: Exception) -> None:
        if self._tls is not None:
            self._write(self._tls.data_to_send())  # the alert
        self._fail(getattr(error, "reason", None) or type(error).__name__)

    def _fail(self, detail: str) -> None:
        self._failed = True
        self._on_event(TlsFailed(detail))
        self._hang_up()
