"""One question to one server: what the events of a connection mean for a check."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sidecar.errors import shorten
from sidecar.jobs import Evidence, Outcome, Verdict
from sidecar.pkix.peer import Proven
from sidecar.protocol.events import (
    AnswerDropped,
    Cause,
    StreamClosed,
    StreamOpened,
    TlsWanted,
    VerifyAnswered,
)
from sidecar.s2s.connection import ConnectionEvent, TlsEstablished, TlsFailed
from sidecar.s2s.failures import Failure, Reason

_CAUSES = {
    Cause.TLS_REFUSED: Reason.TLS_FAILED,
    Cause.TLS_MISSING: Reason.TLS_MISSING,
    Cause.NO_DIALBACK: Reason.DIALBACK_NOT_OFFERED,
    Cause.VIOLATION: Reason.STREAM_VIOLATION,
    Cause.PEER_ERROR: Reason.STREAM_ERROR,
}

_HOST_UNKNOWN = {"host-unknown", "host-gone"}


class Attempt:
    """Collects the events of one connection that carries one request.

    `opened` is done when the question has been sent; `answer` when there is one (a verdict that
    is valid or invalid), or with the failure that came instead. `prove` is asked whether the
    certificate of the server is proof enough; `place` is where it is, for the log. Where `asks`
    is false no question is sent, and the certificate was the only chance.
    """

    def __init__(
        self, place: str, prove: Callable[[bytes], Proven | None], *, asks: bool = True
    ) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.answer: asyncio.Future[Verdict | Failure] = loop.create_future()
        self.tls_offered = False
        self.dropped = 0
        self._prove = prove
        self._place = place
        self._asks = asks
        self._tls_version = "cleartext"

    def on_event(self, event: ConnectionEvent) -> None:
        match event:
            case StreamOpened():
                self._open()
            case TlsEstablished():
                self._judge_certificate(event)
            case VerifyAnswered():
                self._finish(self._judge(event))
            case AnswerDropped():
                self.dropped += 1
            case TlsFailed():
                self._finish(Failure(Reason.TLS_FAILED, event.detail))
            case StreamClosed():
                self._finish(self._judge_end(event))
            case TlsWanted():
                self.tls_offered = True

    def _judge_certificate(self, event: TlsEstablished) -> None:
        self._tls_version = event.version
        proven = self._prove(event.certificate)
        if proven is not None:
            detail = f"{proven.detail}, {self._place}"
            self._finish(Verdict.valid(Evidence.SAME_CERTIFICATE, detail))

    def _judge(self, answer: VerifyAnswered) -> Verdict | Failure:
        if answer.outcome is Outcome.VALID:
            return Verdict.valid(Evidence.KEY, f"{self._place} over {self._tls_version}")
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

    def _open(self) -> None:
        if not self._asks:
            self._finish(Failure(Reason.EVIDENCE_MISSING))
        elif not self.opened.done():
            self.opened.set_result(None)

    def _finish(self, result: Verdict | Failure) -> None:
        if not self.answer.done():
            self.answer.set_result(result)
