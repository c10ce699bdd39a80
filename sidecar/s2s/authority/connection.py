"""One connection of a peer: bytes between its transport and an AuthorityStream, within bounds."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import cast

from sidecar.jobs import Condition, Verdict
from sidecar.protocol.authority_events import (
    AuthorityEvent,
    RequestRefused,
    ResultAsked,
    StanzaDropped,
    VerifyAsked,
)
from sidecar.protocol.authority_stream import AuthorityStream
from sidecar.protocol.events import AnswerDropped, StreamClosed, TlsWanted
from sidecar.s2s.authority.peer_log import log_closed
from sidecar.s2s.authority.reading import Against, Reading
from sidecar.s2s.authority.service import AuthorityService
from sidecar.s2s.gate import prefix_of
from sidecar.s2s.tls import TlsLayer

_WHITE_SPACE = b" \t\r\n"
_CHECKS_FULL = Verdict.error(Condition.RESOURCE_CONSTRAINT, "too-many-checks")


class AuthorityConnection(asyncio.BufferedProtocol):
    """Feeds, takes events, writes, dispatches. With `direct_tls`, TLS comes before the stream.

    It reads little at a time, so that no peer keeps the others waiting for long.

    Reading stops while the peer's network has asked too much, while too much waits for an answer,
    and while the peer does not read; `tend` ends what makes no progress.
    """

    def __init__(
        self,
        service: AuthorityService,
        connections: set[AuthorityConnection],
        *,
        direct_tls: bool,
    ) -> None:
        """`connections`: those that are open, this one among them while it lasts."""
        self._service = service
        self._connections = connections
        self._direct_tls = direct_tls
        self._stream = AuthorityStream(
            speaks_for=service.speaks_for,
            new_id=service.new_id,
            offers_tls=service.contexts.usable and not direct_tls,
            requires_tls=service.requires_tls,
            encrypted=direct_tls,
        )
        self._transport: asyncio.Transport | None = None
        self._tls: TlsLayer | None = None
        self._checks: set[asyncio.Task[None]] = set()
        self._reading = Reading()
        self._leaving = False
        self._entered = False
        self._parts = 0
        self._halfway = False
        self._deadline = 0.0
        self.ip = ""
        self.network = ""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        service = self._service
        self._transport = cast(asyncio.Transport, transport)
        self._reading.begin(self._transport)
        peer = transport.get_extra_info("peername") or ("",)
        self.ip = str(peer[0])
        self.network = prefix_of(self.ip)
        self._deadline = service.clock() + service.patience.negotiating
        self._transport.set_write_buffer_limits(service.bounds.unread_bytes)
        self._connections.add(self)
        service.counts["connections"] += 1
        self._entered = service.connection_count.enter(self.network)
        if not self._entered:
            self._turn_away()
            return
        self._charge(service.price.connection)
        if self._direct_tls:
            self._start_tls()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._service.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._leaving:
            self._receive(bytes(self._service.buffer[:nbytes]))

    def _receive(self, data: bytes) -> None:
        price = self._service.price
        read = len(data) * price.byte  # as it came: each byte may be in a TLS record of its own
        if self._tls is not None:
            decrypted = self._decrypt(self._tls, data)
            if decrypted is None:
                return
            data = decrypted
        self._stream.receive_data(data)
        self._note_progress(data)
        if self._tls is not None and self._tls.ended:
            self._stream.receive_eof()
        asked = self._flush()
        self._charge(max(asked, price.read) + read)
        if self._stream.pending > self._service.bounds.pending_requests:
            self._reading.stop(Against.PENDING)

    def eof_received(self) -> bool:
        """Whether the connection stays open for answers."""
        if self._leaving or (self._tls is not None and not self._tls.established):
            return False
        self._stream.receive_eof()
        self._flush()
        return not self._stream.closed

    def pause_writing(self) -> None:
        if not self._leaving:
            self._reading.stop(Against.WRITING)
            self._deadline = self._service.clock() + self._service.patience.reading

    def resume_writing(self) -> None:
        if not self._leaving:
            self._deadline = self._service.clock() + self._service.patience.idle
            self._reading.go_on(Against.WRITING)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._leaving = True
        self._reading.lost()
        self._connections.discard(self)
        if self._entered:
            self._service.connection_count.leave(self.network)
        for check in self._checks:
            check.cancel()
        self._stream.release()

    # what the listener calls

    def answer(self, asked: Sequence[VerifyAsked], verdicts: Sequence[Verdict]) -> None:
        """Send the answers to verify requests of this connection, in one write."""
        for question, verdict in zip(asked, verdicts, strict=True):
            self._stream.answer(question, verdict)
        self._answered()

    def tend(self, now: float) -> None:
        """End the connection where its time is up."""
        if now < self._deadline or self._transport is None:
            return
        against = self._reading.against
        if self._leaving or against & Against.WRITING:
            self._transport.abort()
        elif against or self._stream.pending:
            self._deadline = now + self._service.patience.idle
        else:
            self.close("connection-timeout")

    def close(self, condition: str) -> None:
        """End the stream with a stream error."""
        if not self._leaving:
            if self._tls is not None and not self._tls.established:
                self._leave()
                return
            self._stream.close(condition)
            self._flush()

    # inside

    def _decrypt(self, tls: TlsLayer, data: bytes) -> bytes | None:
        """The plain text in `data`; None when the session broke."""
        established = tls.established
        try:
            plain = tls.receive(data)
        except ssl.SSLError:
            self._tls_failed()
            return None
        if tls.established and not established:
            self._service.counts["tls"] += 1
            if not self._direct_tls:
                self._stream.tls_established()
        return plain

    def _note_progress(self, data: bytes) -> None:
        """Put off the deadline: to the next header, the end of this element, or the next one."""
        patience, parts = self._service.patience, self._stream.parts
        if parts != self._parts:
            self._parts = parts
            self._halfway = False
            self._deadline = self._service.clock() + patience.idle
        elif parts and data and not self._halfway:
            if data.strip(_WHITE_SPACE):
                self._halfway = True
                self._deadline = self._service.clock() + patience.element
            else:
                self._deadline = self._service.clock() + patience.idle

    def _flush(self) -> int:
        """Write what the stream has to say, dispatch its events; return how many there were."""
        self._send(self._stream.data_to_send())
        events = self._stream.events()
        if not events:
            return 0
        asked = [event for event in events if type(event) is VerifyAsked]
        if asked:
            self._service.verify_batches.ask(self, asked)
        if len(asked) < len(events):
            for event in events:
                self._dispatch(event)
        return len(events)

    def _dispatch(self, event: AuthorityEvent) -> None:
        counts = self._service.counts
        if isinstance(event, ResultAsked):
            self._check(event)
        elif isinstance(event, TlsWanted):
            if not self._stream.closed:
                self._start_tls()
        elif isinstance(event, RequestRefused):
            counts[event.reason] += 1
        elif isinstance(event, AnswerDropped):
            counts["answer-unasked"] += 1
        elif isinstance(event, StanzaDropped):
            counts["stanza-dropped"] += 1
        elif isinstance(event, StreamClosed):
            log_closed(self.ip, event)
            if event.condition is not None:
                counts["stream-error"] += 1
            self._leave()

    def _check(self, asked: ResultAsked) -> None:
        service = self._service
        if len(self._checks) >= service.bounds.pending_checks:
            self._stream.answer(asked, _CHECKS_FULL)
            self._send(self._stream.data_to_send())
            return
        self._charge(service.price.check)
        task = asyncio.ensure_future(self._answer_check(asked))
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    async def _answer_check(self, asked: ResultAsked) -> None:
        verdict = await self._service.check(asked, encrypted=self._stream.encrypted, ip=self.ip)
        self._stream.answer(asked, verdict)
        self._answered()

    def _answered(self) -> None:
        if not self._leaving:
            self._flush()
            if self._stream.pending <= self._service.bounds.pending_requests // 2:
                self._reading.go_on(Against.PENDING)

    def _turn_away(self) -> None:
        """End it at once: those who come too often must not stay for their goodbye."""
        assert self._transport is not None
        self._service.counts["turned-away"] += 1
        self._leaving = True
        self._deadline = self._service.clock() + self._service.patience.leaving
        if not self._direct_tls:
            self._stream.close("resource-constraint")
            self._write(self._stream.data_to_send())
        self._transport.close()

    def _start_tls(self) -> None:
        self._charge(self._service.price.tls_handshake)
        self._deadline = self._service.clock() + self._service.patience.negotiating
        self._halfway = False
        self._parts = 0
        self._stream.parts = 0
        contexts = self._service.contexts
        if not contexts.usable:  # a new configuration has none, and the stream began before it
            self._tls_failed()
            return
        try:
            self._tls = TlsLayer(contexts.entrance(), None)
        except (ssl.SSLError, ValueError):
            self._tls_failed()

    def _tls_failed(self) -> None:
        self._service.counts["tls-failed"] += 1
        if self._tls is not None:
            self._write(self._tls.data_to_send())  # the alert
        self._leave()

    def _send(self, data: bytes) -> None:
        if self._tls is None:
            self._write(data)
            return
        if self._tls.established:
            try:
                self._tls.send(data)
            except ssl.SSLError:
                self._tls_failed()
                return
        self._write(self._tls.data_to_send())

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data)

    def _leave(self) -> None:
        """Say that nothing follows, and wait a little for the peer to end the connection, or what
        it has not read yet could be lost (RFC 6120 §4.4)."""
        if self._leaving or self._transport is None:
            return
        self._leaving = True
        self._deadline = self._service.clock() + self._service.patience.leaving
        if self._tls is not None and self._tls.established:
            self._tls.close()
            self._write(self._tls.data_to_send())
        try:
            self._transport.write_eof()
            self._reading.end()
        except OSError:  # the peer is gone already
            self._transport.abort()

    def _charge(self, price: float) -> None:
        """Charge the peer's network; stop reading for as long as it owes."""
        now = self._service.clock()
        seconds = self._service.request_rate.charge(self.network, price, now)
        if seconds > 0 and not self._reading.against & Against.RATE:
            self._reading.stop(Against.RATE)
            loop = asyncio.get_running_loop()
            loop.call_later(seconds, self._reading.go_on, Against.RATE)
