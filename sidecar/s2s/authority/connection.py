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
from sidecar.s2s.authority.deadline import Deadline
from sidecar.s2s.authority.peer_log import log_closed
from sidecar.s2s.authority.reading import Against, Reading
from sidecar.s2s.authority.service import AuthorityService
from sidecar.s2s.authority.wire import Wire
from sidecar.s2s.gate import prefix_of

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
        self._checks: set[asyncio.Task[None]] = set()
        self._reading = Reading()
        self._deadline = Deadline(service.patience, service.clock)
        self._overhead = 0
        self._leaving = False
        self._entered = False
        self.ip = ""
        self.network = ""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        service = self._service
        transport = cast(asyncio.Transport, transport)
        self._wire = Wire(transport)
        self._reading.begin(transport)
        peer = transport.get_extra_info("peername") or ("",)
        self.ip = str(peer[0])
        self.network = prefix_of(self.ip)
        self._deadline.negotiate()
        transport.set_write_buffer_limits(service.bounds.unread_bytes)
        self._connections.add(self)
        service.counts["connections"] += 1
        self._entered = service.connection_count.enter(self)
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
        plain = self._decrypt(data)
        if plain is None:
            return
        read += self._new_overhead() * price.tls_byte
        self._stream.receive_data(plain)
        if self._deadline.note(plain, self._stream.parts) and self._entered:
            self._service.connection_count.note_activity(self)
        if self._wire.ended:
            self._stream.receive_eof()
        asked = self._flush()
        self._charge(max(asked, price.read) + read)
        if self._stream.pending > self._service.bounds.pending_requests:
            self._reading.stop(Against.PENDING)

    def eof_received(self) -> bool:
        """Whether the connection stays open for answers."""
        if self._leaving or self._wire.shaking_hands:
            return False
        self._stream.receive_eof()
        self._flush()
        return not self._stream.closed

    def pause_writing(self) -> None:
        if not self._leaving:
            self._reading.stop(Against.WRITING)
            self._deadline.write()

    def resume_writing(self) -> None:
        if not self._leaving:
            self._deadline.idle()
            self._reading.go_on(Against.WRITING)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wire.lost()
        self._leaving = True
        self._reading.lost()
        self._connections.discard(self)
        self._give_place_back()
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
        if not self._deadline.is_over(now):
            return
        against = self._reading.against
        if self._leaving or against & Against.WRITING:
            self._wire.abort()
        elif against or self._stream.pending:
            self._deadline.idle()
        else:
            self.close("connection-timeout")

    def close(self, condition: str) -> None:
        """End the stream with a stream error."""
        if not self._leaving:
            if self._wire.shaking_hands:
                self._leave()
                return
            self._stream.close(condition)
            self._flush()

    def make_way(self) -> None:
        """Another network has fewer places: give this one back, and end at once."""
        self._service.counts["made-way"] += 1
        self._give_place_back()
        self._end_at_once()

    # inside

    def _give_place_back(self) -> None:
        if self._entered:
            self._entered = False
            self._service.connection_count.leave(self)

    def _decrypt(self, data: bytes) -> bytes | None:
        """The plain text in `data`; None when TLS broke."""
        secured = self._wire.secured
        try:
            plain = self._wire.receive(data)
        except ssl.SSLError:
            self._tls_failed()
            return None
        if self._wire.secured and not secured:
            self._service.counts["tls"] += 1
            if not self._direct_tls:
                self._stream.tls_established()
        return plain

    def _new_overhead(self) -> int:
        """Bytes that TLS keeps to itself, beyond the most there were; those of an unfinished record
        turn into plain text later."""
        most, self._overhead = self._overhead, max(self._overhead, self._wire.overhead_bytes)
        return self._overhead - most

    def _flush(self) -> int:
        """Write what the stream has to say, dispatch its events; return how many there were."""
        self._send(self._stream.data_to_send())
        events = self._stream.events()
        if not events:
            return 0
        asked = [event for event in events if type(event) is VerifyAsked]
        if asked:
            refused = self._service.verify_batches.ask(self, asked)
            self._service.counts["too-many-requests"] += refused
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
        """Those who come too often must not stay for their goodbye."""
        self._service.counts["turned-away"] += 1
        self._end_at_once()

    def _end_at_once(self) -> None:
        if self._leaving:
            return
        self._leaving = True
        self._deadline.leave()
        if self._wire.unsent_bytes:  # it would stay until that is read
            self._wire.abort()
            return
        if self._wire.secured or not (self._direct_tls or self._wire.shaking_hands):
            self._stream.close("resource-constraint")
            self._send(self._stream.data_to_send())
        self._wire.close()

    def _start_tls(self) -> None:
        self._charge(self._service.price.tls_handshake)
        self._deadline.negotiate()
        contexts = self._service.contexts
        if not contexts.usable:  # a new configuration has none, and the stream began before it
            self._tls_failed()
            return
        try:
            self._wire.start_tls(contexts.entrance())
        except (ssl.SSLError, ValueError):
            self._tls_failed()

    def _tls_failed(self) -> None:
        self._service.counts["tls-failed"] += 1
        self._leave()

    def _send(self, data: bytes) -> None:
        try:
            self._wire.send(data)
        except ssl.SSLError:
            self._tls_failed()

    def _leave(self) -> None:
        """Say that nothing follows, and wait a little for the peer to end the connection, or what
        it has not read yet could be lost (RFC 6120 §4.4)."""
        if self._leaving:
            return
        self._leaving = True
        self._deadline.leave()
        try:
            self._wire.end()
            self._reading.end()
        except OSError:  # the peer is gone already
            self._wire.abort()

    def _charge(self, price: float) -> None:
        """Charge the peer's network; stop reading for as long as it owes."""
        now = self._service.clock()
        seconds = self._service.request_rate.charge(self.network, price, now)
        if seconds > 0 and not self._reading.against & Against.RATE:
            self._reading.stop(Against.RATE)
            loop = asyncio.get_running_loop()
            loop.call_later(seconds, self._reading.go_on, Against.RATE)
