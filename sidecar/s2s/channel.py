"""One verification stream to one server, and the questions asked on it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from sidecar.errors import shorten
from sidecar.jobs import Check, Evidence, Outcome, Verdict
from sidecar.names import Domain
from sidecar.pkix.peer import Proven
from sidecar.protocol.events import (
    AnswerDropped,
    Cause,
    Request,
    StreamClosed,
    StreamOpened,
    TlsWanted,
    VerifyAnswered,
)
from sidecar.protocol.verify_stream import VerifyStream
from sidecar.s2s.connection import ConnectionEvent, TlsEstablished, TlsFailed, VerifyConnection
from sidecar.s2s.failures import Failure, Reason

_CAUSES = {
    Cause.TLS_REFUSED: Reason.TLS_FAILED,
    Cause.TLS_MISSING: Reason.TLS_MISSING,
    Cause.NO_DIALBACK: Reason.DIALBACK_NOT_OFFERED,
    Cause.VIOLATION: Reason.STREAM_VIOLATION,
    Cause.PEER_ERROR: Reason.STREAM_ERROR,
}

_HOST_UNKNOWN = {"host-unknown", "host-gone"}

Answer = asyncio.Future[Verdict | Failure]


class Channel:
    """The stream opened for the domain `remote` at `place`; tells what its events mean.

    `opened` is done when questions are sent. Each question has its own answer: a verdict that is
    valid or invalid, or the failure that came instead. No answer is ever another question's.
    """

    def __init__(
        self,
        *,
        local: Domain,
        remote: Domain,
        place: str,
        context: ssl.SSLContext,
        direct_tls: bool,
        tls_required: bool,
    ) -> None:
        self.local, self.remote, self.place = local, remote, place
        self.direct_tls = direct_tls
        self.connection = VerifyConnection(
            VerifyStream(
                local=local, remote=remote, encrypted=direct_tls, tls_required=tls_required
            ),
            domain=remote,
            context=context,
            direct_tls=direct_tls,
            on_event=self._on_event,
        )
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tls_offered = direct_tls
        self.encrypted = False
        self.dialback_errors = False
        self.ended = False
        self.dropped = 0
        self.asked = 0
        self.on_quiet: Callable[[], None] = lambda: None
        self._answers: dict[Request, Answer] = {}
        self._prove: Callable[[bytes], Proven | Failure | None] = lambda _: None
        self._asks = True
        self._tls_version = "cleartext"

    @property
    def outstanding(self) -> int:
        return len(self._answers)

    def ask(self, check: Check) -> Answer:
        """Ask about the key of `check`, now or as soon as the stream is open.

        Raises ValueError when just that is being asked already, or the stream is over.
        """
        self.connection.verify(check.pair, check.stream, check.key)
        return self._expect(check)

    def prove(
        self, check: Check, prove: Callable[[bytes], Proven | Failure | None], *, ask: bool = True
    ) -> Answer:
        """As `ask`, but when the certificate of the server is proof enough, or cannot be taken,
        that is the answer; without `ask` it is the only chance. Before the connection is made."""
        self._prove, self._asks = prove, ask
        return self.ask(check) if ask else self._expect(check)

    def close(self) -> None:
        """End the stream and the connection; what is not answered has failed."""
        self.ended = True
        self.connection.close()

    def _expect(self, check: Check) -> Answer:
        self.asked += 1
        answer: Answer = asyncio.get_running_loop().create_future()
        self._answers[check.pair, check.stream] = answer
        return answer

    def _on_event(self, event: ConnectionEvent) -> None:
        match event:
            case StreamOpened():
                self._open(event)
            case TlsEstablished():
                self._judge_certificate(event)
            case VerifyAnswered():
                self._settle((event.pair, event.stream), self._judge(event))
                if not self._answers:
                    self.on_quiet()
            case AnswerDropped():
                self.dropped += 1
            case TlsFailed():
                self._end(Failure(Reason.TLS_FAILED, event.detail))
            case StreamClosed():
                self._end(self._judge_end(event))
            case TlsWanted():
                self.tls_offered = True

    def _open(self, event: StreamOpened) -> None:
        self.dialback_errors = event.dialback_errors
        if not self.opened.done():
            self.opened.set_result(None)
        if not self._asks:
            for request in tuple(self._answers):
                self._settle(request, Failure(Reason.EVIDENCE_MISSING))

    def _judge_certificate(self, event: TlsEstablished) -> None:
        self.encrypted = True
        self._tls_version = event.version
        proven = self._prove(event.certificate)
        if isinstance(proven, Failure):
            self._end(proven)
            self.connection.abandon()
        elif proven is not None:
            verdict = Verdict.valid(Evidence.SAME_CERTIFICATE, f"{proven.detail}, {self.place}")
            for request in tuple(self._answers):
                self._settle(request, verdict)

    def _judge(self, answer: VerifyAnswered) -> Verdict | Failure:
        if answer.outcome is Outcome.VALID:
            return Verdict.valid(Evidence.KEY, f"{self.place} over {self._tls_version}")
        if answer.outcome is Outcome.INVALID:
            return Verdict.invalid("answer-invalid")
        if answer.condition == "item-not-found":
            return Failure(Reason.ANSWER_NOT_FOUND)
        return Failure(Reason.ANSWER_ERROR, shorten(answer.condition or ""))

    def _judge_end(self, event: StreamClosed) -> Failure:
        detail = f"{shorten(event.condition)} {shorten(event.text)}" if event.condition else ""
        if event.cause is Cause.PEER_ERROR and event.condition in _HOST_UNKNOWN:
            return Failure(Reason.HOST_UNKNOWN, detail)
        if event.cause in _CAUSES:
            return Failure(_CAUSES[event.cause], detail)
        return Failure(Reason.ANSWER_MISSING if self.opened.done() else Reason.STREAM_CLOSED)

    def _end(self, failure: Failure) -> None:
        self.ended = True
        for request in tuple(self._answers):
            self._settle(request, failure)
        self.on_quiet()

    def _settle(self, request: Request, result: Verdict | Failure) -> None:
        answer = self._answers.pop(request, None)
        if answer is not None and not answer.done():
            answer.set_result(result)
