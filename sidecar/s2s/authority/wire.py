"""The bytes between a peer and its stream: the transport, and TLS on it once that has begun."""

from __future__ import annotations

import asyncio
import ssl

from sidecar.s2s.tls import TlsLayer


class Wire:
    """Where TLS breaks, the peer gets the alert and the caller ssl.SSLError."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport: asyncio.Transport | None = transport
        self._tls: TlsLayer | None = None

    @property
    def secured(self) -> bool:
        """Whether the TLS handshake is done."""
        return self._tls is not None and self._tls.established

    @property
    def shaking_hands(self) -> bool:
        """Whether TLS has begun and its handshake is not done: nothing can be said."""
        return self._tls is not None and not self._tls.established

    @property
    def overhead_bytes(self) -> int:
        """How much came that TLS keeps to itself."""
        return 0 if self._tls is None else self._tls.overhead_bytes

    @property
    def unsent_bytes(self) -> int:
        """How much there is that the peer leaves no room for."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def ended(self) -> bool:
        """Whether the peer has said, inside TLS, that nothing follows."""
        return self._tls is not None and self._tls.ended

    def start_tls(self, context: ssl.SSLContext) -> None:
        """What comes and goes from now on is TLS. Raises ssl.SSLError, ValueError."""
        self._tls = TlsLayer(context, None)

    def receive(self, data: bytes) -> bytes:
        """Return the plain text in `data`. Raises ssl.SSLError."""
        if self._tls is None:
            return data
        try:
            return self._tls.receive(data)
        except ssl.SSLError:
            self._write(self._tls.data_to_send())
            raise

    def send(self, plain: bytes) -> None:
        """Send it, and what TLS has to say. Raises ssl.SSLError."""
        if self._tls is None:
            self._write(plain)
            return
        try:
            if self._tls.established:
                self._tls.send(plain)
        finally:
            self._write(self._tls.data_to_send())

    def end(self) -> None:
        """Say that nothing follows. Raises OSError when the peer is gone already."""
        if self._transport is None:
            return
        if self._tls is not None and self._tls.established:
            self._tls.close()
            self._write(self._tls.data_to_send())
        self._transport.write_eof()

    def close(self) -> None:
        """End the connection once all is written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def lost(self) -> None:
        """There is no connection any more."""
        self._transport = None

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data)
