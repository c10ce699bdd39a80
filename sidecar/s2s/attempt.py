"""One question to one server: what the events of a connection mean for a check."""

from __future__ import annotations

import asyncio

from sidecar.errors import shorten
from sidecar.jobs import Outcome
from sidecar.protocol.events import (
    AnswerDropped,
    Cause,
    StreamClosed,
    StreamOpened,
    TlsWanted,
    VerifyAnswered,
)
from sidecar.s2s.connection import ConnectionEvent, TlsFailed
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

    `opened` is done when the question has been sent; `answer` when there is one, with the
    outcome (valid or invalid), or with the failure that came instead.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.answer: asyncio.Future[Outcome | Failure] = loop.create_future()
        self.tls_offered = False
        self.dropped = 0

    def on_event(self, event: ConnectionEvent) -> None:
        match event:
            case StreamOpened():
                self._open()
            case VerifyAnswered():
                self._finish(_judge(event))
            case AnswerDropped():
                self.dropped += 1
            case TlsFailed():
                self._finish(Failure(Reason.TLS_FAILED, event.detail))
            case StreamClosed():
                self._finish(self._judge_end(event))
            case TlsWanted():
                self.tls_offered = True

    def _judge_end(self, event: StreamClosed) -> Failure:
        detail = f"{shorten(event.condition)} {shorten(event.text)}" if event.condition else ""
        if event.cause is Cause.PEER_ERROR and event.condition in _HOST_UNKNOWN:
            return Failure(Reason.HOST_UNKNOWN, detail)
        if event.cause in _CAUSES:
            return Failure(_CAUSES[event.cause], detail)
        return Failure(Reason.ANSWER_MISSING if self.opened.done() else Reason.STREAM_CLOSED)

    def _open(self) -> None:
        if not self.opened.done():
            self.opened.set_result(None)

    def _finish(self, result: Outcome | Failure) -> None:
        if not self.answer.done():
            self.answer.set_result(result)


def _judge(answer: VerifyAnswered) -> Outcome | Failure:
    if answer.outcome is not Outcome.ERROR:
        return answer.outcome
    if answer.condition == "item-not-found":
        return Failure(Reason.ANSWER_NOT_FOUND)
    return Failure(Reason.ANSWER_ERROR, shorten(answer.condition or ""))
