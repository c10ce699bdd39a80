"""The inbound stream of the authority listener: we are the Authoritative Server.

    stream = AuthorityStream(speaks_for=ours, new_id=fresh_id, offers_tls=True)
    stream.receive_data(read()); handle(stream.events()); write(stream.data_to_send())
    stream.answer(asked, verdict); write(stream.data_to_send())

One stream carries any number of requests about any of our domains (XEP-0220 §2.6), and is
authorised for nothing but asking. Answers may come in any order.
"""

from __future__ import annotations

from collections.abc import Callable

from sidecar.errors import InvalidValue, StreamViolation, shorten
from sidecar.jobs import Condition, Outcome, Verdict
from sidecar.names import Domain, StreamId
from sidecar.protocol import dialback_requests as requests
from sidecar.protocol import namespaces as ns
from sidecar.protocol import stream
from sidecar.protocol.authority_events import (
    Asked,
    AuthorityEvent,
    RequestRefused,
    ResultAsked,
    StanzaDropped,
    VerifyAsked,
)
from sidecar.protocol.authority_states import TRANSITIONS, Input, State
from sidecar.protocol.events import AnswerDropped, Cause, StreamClosed, TlsWanted
from sidecar.protocol.state_table import follow
from sidecar.protocol.xml import Element, Limits, StreamEnd, StreamPart, StreamStart, XmlStream

AUTHORITY_LIMITS = Limits(
    stream_bytes=1 << 62, element_bytes=8_192, depth=8, elements=64, names=16_384
)
"""A standing stream may carry requests for ever; what it makes the parser remember is bounded."""

NOT_OURS = Verdict.error(Condition.ITEM_NOT_FOUND, "domain-not-ours")
MALFORMED = Verdict.error(Condition.BAD_REQUEST, "malformed-request")
TLS_REQUIRED = Verdict.error(Condition.POLICY_VIOLATION, "tls-required")

_CLOSES = {
    Input.TLS_REFUSED: Cause.VIOLATION,
    Input.STREAM_ERROR: Cause.PEER_ERROR,
    Input.ANSWERED: Cause.PEER_CLOSED,
    Input.EOF: Cause.PEER_CLOSED,
    Input.CLOSE: Cause.OURS,
}
_STANZAS = ("message", "presence", "iq")
_REQUESTS = ("verify", "result")
_OURS = (Input.SECURED, Input.ANSWERED, Input.CLOSE, Input.EOF)


class AuthorityStream:
    """The state of one such stream; does no I/O.

    `speaks_for` says which sender domains are ours, `new_id` makes an unpredictable stream ID.
    `encrypted` says that TLS was there before the stream (XEP-0368).
    """

    def __init__(
        self,
        *,
        speaks_for: Callable[[Domain], bool],
        new_id: Callable[[], StreamId],
        offers_tls: bool = False,
        requires_tls: bool = False,
        encrypted: bool = False,
        limits: Limits = AUTHORITY_LIMITS,
    ) -> None:
        self._speaks_for = speaks_for
        self._new_id = new_id
        self._offers_tls = offers_tls
        self._requires_tls = requires_tls
        self.encrypted = encrypted
        self._limits = limits
        self._state = State.HEADER_AWAITED
        self._id: StreamId | None = None
        self._authorised = False
        self._pending = 0
        self._events: list[AuthorityEvent] = []
        self._out = bytearray()
        self._xml = XmlStream(limits)
        self.parts = 0
        """Headers and elements that have come since the stream began, which it does anew with
        STARTTLS: a peer that adds none makes no progress."""

    @property
    def state(self) -> State:
        return self._state

    @property
    def closed(self) -> bool:
        return self._state is State.CLOSED

    @property
    def pending(self) -> int:
        """How many requests wait for `answer`."""
        return self._pending

    # what the driver calls

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer. What they mean is in `events`, what to answer in
        `data_to_send`. Bytes after the end of the stream are ignored."""
        if self._state >= State.ENDING:
            return
        try:
            for part in self._xml.receive(data):
                self.parts += 1
                self._receive(part)
                if self._state >= State.ENDING:
                    return
        except StreamViolation as error:
            self._violated(error)

    def receive_eof(self) -> None:
        """The peer sends no more. What it asked is still answered, as far as that goes."""
        self._step(Input.EOF)

    def release(self) -> None:
        """The connection is over and nothing is received any more."""
        self._xml.release()

    def tls_established(self) -> None:
        """The TLS handshake that `TlsWanted` asked for is done; the stream begins anew."""
        self._step(Input.SECURED)
        self.encrypted = True
        self._authorised = False
        self._id = None
        self._xml.release()
        self._xml = XmlStream(self._limits)

    def answer(self, asked: Asked, verdict: Verdict) -> None:
        """Answer a request. Does nothing when the stream is over."""
        if self._state is State.CLOSED:
            return
        self._out += requests.write_answer(asked.said, verdict).encode()
        self._pending -= 1
        if type(asked) is ResultAsked:
            self._authorise(verdict)
        if not self._pending and self._state is State.ENDING:
            self._step(Input.ANSWERED)

    def _authorise(self, verdict: Verdict) -> None:
        """A stream that is refused, and authorised for no other pair, ends (XEP-0220 §2.2.1)."""
        if verdict.outcome is Outcome.VALID:
            self._authorised = True
        elif verdict.outcome is Outcome.INVALID and not self._authorised:
            self.close("not-authorized")

    def close(self, condition: str | None = None) -> None:
        """End the stream from our side, maybe with a stream error. Harmless when it is over."""
        if condition is not None and not self.closed:
            self._respond(None)
            self._out += stream.write_stream_error(condition)
            self._close(Cause.OURS, condition)
        else:
            self._step(Input.CLOSE)

    def data_to_send(self) -> bytes:
        """Take the bytes to send."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def events(self) -> list[AuthorityEvent]:
        """Take what has happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    # what the peer sends

    def _receive(self, part: StreamPart) -> None:
        if isinstance(part, StreamStart):
            self._receive_header(part)
        elif isinstance(part, StreamEnd):
            self._step(Input.STREAM_END)
        else:
            self._receive_element(part)

    def _receive_header(self, start: StreamStart) -> None:
        header = stream.read_header(start)
        self._step(Input.HEADER)
        self._respond(header)
        if header.recipient is not None and not self._names_ours(header.recipient):
            raise StreamViolation("host-unknown", f"got {shorten(header.recipient)}")
        if not header.legacy:
            offers = self._offers_tls and not self.encrypted
            self._out += stream.write_features(starttls=offers, required=self._requires_tls)

    def _names_ours(self, text: str) -> bool:
        try:
            return self._speaks_for(Domain.parse(text))
        except InvalidValue:
            return False

    def _receive_element(self, element: Element) -> None:
        if element.namespace == ns.DIALBACK and element.name in _REQUESTS:
            if "type" in element.attributes:
                self._step(Input.ANSWER)
                self._events.append(AnswerDropped(tuple(element.attributes.items())))
            else:
                if self._state is not State.OPEN:
                    self._require(Input.REQUEST)
                self._receive_request(element)
        elif element.namespace == ns.STREAM and element.name == "error":
            self._require(Input.STREAM_ERROR)
            self._out += stream.CLOSE
            self._close(Cause.PEER_ERROR, *stream.read_stream_error(element))
        elif element.namespace == ns.STARTTLS and element.name == "starttls":
            possible = self._offers_tls and not self.encrypted and not self._pending
            self._step(Input.STARTTLS if possible else Input.TLS_REFUSED)
        elif element.namespace == ns.SASL and element.name == "auth":
            self._step(Input.SASL)
        elif element.namespace == ns.SERVER and element.name in _STANZAS:
            if not self._authorised:
                raise StreamViolation("not-authorized", "expected no stanza")
            self._step(Input.STANZA)
            self._events.append(StanzaDropped(element.name))
        else:
            raise StreamViolation(
                "unsupported-stanza-type",
                f"expected db:verify, got {shorten(element.name)}",
            )

    def _receive_request(self, element: Element) -> None:
        said = requests.said_in(element)
        try:
            asked = self._read_request(element, said)
        except InvalidValue:
            asked = MALFORMED
        if isinstance(asked, Verdict):
            self._out += requests.write_answer(said, asked).encode()
            self._events.append(RequestRefused(said, asked.reason or ""))
        else:
            self._pending += 1
            self._events.append(asked)

    def _read_request(self, element: Element, said: requests.Said) -> Asked | Verdict:
        """The question, or the dialback error it gets at once. Raises InvalidValue."""
        pair = requests.read_pair(said)
        verify = said.name == "verify"
        if not self._speaks_for(pair.sender if verify else pair.target):
            return NOT_OURS
        if self._requires_tls and not self.encrypted:
            return TLS_REQUIRED
        key = requests.read_key(element)
        if verify:
            return VerifyAsked(pair, requests.read_stream(said), key, said)
        assert self._id is not None
        return ResultAsked(pair, self._id, key, said)

    # the table at work

    def _require(self, received: Input) -> State:
        return follow(TRANSITIONS, self._state, received, misuse=_OURS)

    def _step(self, received: Input) -> None:
        before, after = self._state, self._require(received)
        if before is after:
            if received is Input.SASL:
                self._out += stream.SASL_FAILURE
            return
        if after is State.ENDING:
            self._state = after
            if not self._pending:
                self._step(Input.ANSWERED)
            return
        if after is State.CLOSED:
            if received is Input.TLS_REFUSED:
                self._out += stream.TLS_FAILURE
            self._out += b"" if self._id is None else stream.CLOSE
            self._close(_CLOSES[received])
            return
        self._state = after
        if received is Input.STARTTLS:
            self.parts = 0
            self._out += stream.PROCEED
            self._events.append(TlsWanted())

    def _respond(self, header: stream.StreamHeader | None) -> None:
        """Send our header, unless it is sent (RFC 6120 §4.9.1.1: also before a stream error)."""
        if self._id is None:
            self._id = self._new_id()
            self._out += stream.write_response_header(header, self._id)

    def _violated(self, violation: StreamViolation) -> None:
        self._respond(None)
        self._out += stream.write_stream_error(violation.condition)
        self._close(Cause.VIOLATION, violation.condition, violation.text)

    def _close(self, cause: Cause, condition: str | None = None, text: str = "") -> None:
        self._state = State.CLOSED
        self._pending = 0
        self._events.append(StreamClosed(cause, condition, text))
