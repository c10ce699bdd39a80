"""TLS, between bytes and bytes: no transport of its own, so it can begin anytime."""

from __future__ import annotations

import ssl
from typing import Any

from sidecar.names import Domain

_ALPN = "xmpp-server"
_CHUNK_BYTES = 65_536
_DER = 2  # of _ssl.Certificate.public_bytes


def client_context(*, direct: bool = False) -> ssl.SSLContext:
    """A context that encrypts and proves nothing: the dialback key is the evidence.

    `direct` is TLS from the first byte, which names its protocol (XEP-0368 §3).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if direct:
        context.set_alpn_protocols([_ALPN])
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def server_context() -> ssl.SSLContext:
    """A context that asks the peer for no certificate: what it may ask needs no proof."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([_ALPN])
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def chain_of(session: ssl.SSLObject | ssl.SSLSocket) -> tuple[bytes, ...]:
    """All that the peer of an established session has shown, leaf first, DER, unjudged."""
    found: Any = session
    if hasattr(found, "get_unverified_chain"):
        return tuple(found.get_unverified_chain())
    chain = found._sslobj.get_unverified_chain()  # COMPAT(python 3.12): not public there
    return tuple(certificate.public_bytes(_DER) for certificate in chain or ())


class TlsLayer:
    """One TLS session. Raises ssl.SSLError for what goes wrong.

    With a `domain`, which SNI names, we are the client; without one the server.
    """

    def __init__(self, context: ssl.SSLContext, domain: Domain | None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._session = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=domain is None,
            server_hostname=domain and domain.a_label,
        )
        self.established = False
        self.ended = False  # the peer said that nothing follows
        self.overhead_bytes = 0
        """What came and was no plain text: the handshake, new keys, the wrapping of records, and
        what there is of an unfinished one."""
        self._shake_hands()

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the peer, return the plain text they hold (maybe none)."""
        self._incoming.write(data)
        self.overhead_bytes += len(data)
        if not self.established:
            self._shake_hands()
            if not self.established:
                return b""
        plain = bytearray()
        try:
            while chunk := self._session.read(_CHUNK_BYTES):
                plain += chunk
            self.ended = True
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        self.overhead_bytes -= len(plain)
        return bytes(plain)

    def send(self, plain: bytes) -> None:
        """Encrypt `plain`; take the result from `data_to_send`."""
        if plain:
            self._session.write(plain)

    @property
    def version(self) -> str:
        """As in `TLSv1.3`; empty before the handshake is done."""
        return self._session.version() or ""

    @property
    def certificate(self) -> bytes:
        """The peer's certificate, DER, unjudged; empty before the handshake is done."""
        return self._session.getpeercert(binary_form=True) or b""

    def chain(self) -> tuple[bytes, ...]:
        """All that the peer has shown, leaf first, DER, unjudged."""
        return chain_of(self._session)

    def close(self) -> None:
        """Tell the peer that nothing follows."""
        if self.established:
            try:
                self._session.unwrap()
            except ssl.SSLError:
                pass  # its own closing word is not waited for

    def data_to_send(self) -> bytes:
        return self._outgoing.read()

    def _shake_hands(self) -> None:
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.established = True
