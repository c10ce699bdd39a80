"""The outgoing verification stream: Receiving Server towards Authoritative Server.

    stream = VerifyStream(local=target, remote=sender)
    stream.verify(pair, stream_id, key)
    write(stream.data_to_send()); stream.receive_data(read()); handle(stream.events())

One stream carries any number of requests. Their table is the whole defence against answers
nobody asked for (XEP-0220 §3.1): what is not in it is dropped.
"""

from __future__ import annotations

from sidecar.errors import StreamViolation
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.protocol import dialback, stream
from sidecar.protocol import namespaces as ns
from sidecar.protocol.events import (
    AnswerDropped,
    Cause,
    Event,
    Request,
    StreamClosed,
    StreamOpened,
    TlsWanted,
    VerifyAnswered,
)
from sidecar.protocol.state_table import follow
from sidecar.protocol.verify_states import TRANSITIONS, Input, State
from sidecar.protocol.xml import Element, Limits, StreamEnd, StreamPart, StreamStart, XmlStream

_CLOSES = {
    Input.NO_TLS: Cause.TLS_MISSING,
    Input.NO_DIALBACK: Cause.NO_DIALBACK,
    Input.TLS_FAILURE: Cause.TLS_REFUSED,
    Input.STREAM_END: Cause.PEER_CLOSED,
    Input.EOF: Cause.PEER_CLOSED,
    Input.CLOSE: Cause.OURS,
}
_OURS = (Input.SECURED, Input.CLOSE, Input.EOF)

_FIRST_LEVEL = {
    (ns.STREAM, "error"): Input.STREAM_ERROR,
    (ns.STARTTLS, "proceed"): Input.PROCEED,
    (ns.STARTTLS, "failure"): Input.TLS_FAILURE,
}


class VerifyStream:
    """The state of one such stream; does no I/O.

    `encrypted` says that TLS was there before the stream (XEP-0368); `tls_required` that TLS
    must come, because this domain has offered it before.
    """

    def __init__(
        self,
        *,
        local: Domain,
        remote: Domain,
        encrypted: bool = False,
        tls_required: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self._state = State.HEADER_AWAITED
        self.encrypted = encrypted
        self._tls_required = tls_required
        self._limits = limits or Limits()
        self._header_bytes = stream.write_header(local=local, remote=remote)
        self._header: stream.StreamHeader | None = None
        self._dialback_errors = False
        self._outstanding: dict[Request, DialbackKey] = {}
        self._events: list[Event] = []
        self._out = bytearray(self._header_bytes)
        self._xml = XmlStream(self._limits)

    @property
    def state(self) -> State:
        return self._state

    @property
    def closed(self) -> bool:
        return self._state is State.CLOSED

    # what the driver calls

    def verify(self, pair: DomainPair, stream_id: StreamId, key: DialbackKey) -> None:
        """Ask whether `key` is right, now or as soon as the stream is open.

        Raises ValueError when the same pair and ID are being asked already: one answer could
        then be taken for the other's. Raises it too when the stream is over.
        """
        if self._state is State.CLOSED:
            raise ValueError("expected a stream that is not over")
        request = (pair, stream_id)
        if request in self._outstanding:
            raise ValueError("expected a request that is not outstanding already")
        self._outstanding[request] = key
        if self._state is State.OPEN:
            self._out += dialback.write_verify_request(pair, stream_id, key)

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer. What they mean is in `events`, what to answer in
        `data_to_send`. Bytes after the end of the stream are ignored."""
        if self._state is State.CLOSED:
            return
        try:
            for part in self._xml.receive(data):
                self._receive(part)
                if self.closed:
                    return
        except StreamViolation as error:
            self._out += stream.write_stream_error(error.condition)
            self._close(Cause.VIOLATION, error.condition, error.text)

    def receive_eof(self) -> None:
        """The connection is gone (XEP-0220 §2.1.2: what is pending has failed)."""
        self._step(Input.EOF)

    def release(self) -> None:
        """The connection is over and nothing is received any more."""
        self._xml.release()

    def tls_established(self) -> None:
        """The TLS handshake that `TlsWanted` asked for is done; the stream begins anew."""
        self._step(Input.SECURED)
        self.encrypted = True
        self._header = None
        self._xml.release()
        self._xml = XmlStream(self._limits)
        self._out += self._header_bytes

    def close(self) -> None:
        """End the stream from our side. Harmless when it is over already."""
        self._step(Input.CLOSE)

    def data_to_send(self) -> bytes:
        """Take the bytes to send."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def events(self) -> list[Event]:
        """Take what has happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    # what the peer sends

    def _receive(self, part: StreamPart) -> None:
        match part:
            case StreamStart():
                self._header = stream.read_header(part)
                self._step(self._judge_header(self._header))
            case StreamEnd():
                self._step(Input.STREAM_END)
            case Element(namespace=ns.STREAM, name="features"):
                features = stream.read_features(part)
                self._dialback_errors = features.dialback_errors
                self._step(self._judge_features(features))
            case Element(namespace=ns.DIALBACK, name="verify") if "type" in part.attributes:
                self._step(Input.ANSWER)
                self._receive_answer(part)
            case Element(namespace=ns.STREAM, name="error"):
                self._require(Input.STREAM_ERROR)
                self._out += stream.CLOSE
                self._close(Cause.PEER_ERROR, *stream.read_stream_error(part))
            case Element():
                self._step(_FIRST_LEVEL.get((part.namespace, part.name), Input.ELEMENT))

    def _judge_header(self, header: stream.StreamHeader) -> Input:
        if not header.legacy:
            return Input.HEADER
        if self._tls_required and not self.encrypted:
            return Input.NO_TLS
        return Input.LEGACY_HEADER

    def _judge_features(self, features: stream.Features) -> Input:
        if not self.encrypted:
            if features.starttls:
                return Input.STARTTLS
            if self._tls_required:
                return Input.NO_TLS
        declared = self._header is not None and self._header.dialback
        return Input.FEATURES if features.dialback or declared else Input.NO_DIALBACK

    def _receive_answer(self, element: Element) -> None:
        response = dialback.read_verify_response(element)
        if response is None or (response.pair, response.stream) not in self._outstanding:
            self._events.append(AnswerDropped(tuple(element.attributes.items())))
            return
        del self._outstanding[response.pair, response.stream]
        self._events.append(
            VerifyAnswered(response.pair, response.stream, response.outcome, response.condition)
        )

    # the table at work

    def _require(self, received: Input) -> State:
        return follow(TRANSITIONS, self._state, received, misuse=_OURS)

    def _step(self, received: Input) -> None:
        after = self._require(received)
        if after is State.CLOSED:
            if self._state is not State.CLOSED:
                self._out += b"" if received is Input.EOF else stream.CLOSE
                self._close(_CLOSES[received])
            return
        before, self._state = self._state, after
        if received is Input.STARTTLS:
            self._out += stream.STARTTLS
        elif received is Input.PROCEED:
            self._events.append(TlsWanted())
        elif after is State.OPEN and before is not State.OPEN:
            self._opened()

    def _opened(self) -> None:
        assert self._header is not None
        self._events.append(
            StreamOpened(
                self._header.id,
                self.encrypted,
                legacy=self._header.legacy,
                dialback_errors=self._dialback_errors,
            )
        )
        for (pair, stream_id), key in self._outstanding.items():
            self._out += dialback.write_verify_request(pair, stream_id, key)

    def _close(self, cause: Cause, condition: str | None = None, text: str = "") -> None:
        self._state = State.CLOSED
        unanswered = tuple(self._outstanding)
        self._outstanding.clear()
        self._events.append(StreamClosed(cause, condition, text, unanswered))
