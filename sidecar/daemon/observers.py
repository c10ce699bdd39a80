"""Who is told of each decision and report: the log, the metrics, the history.

What is answered is in the log by then. Metrics and history are told in the next turn of the event
loop, when the answer is on its way: whoever asked does not wait for our books.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from sidecar.decision_log import DecisionLog
from sidecar.engine import Decision, Verified
from sidecar.jobs import ReportedOutcome
from sidecar.metrics import Metrics
from sidecar.store import History

log = logging.getLogger(__name__)

T = TypeVar("T")


class Observers:
    """Given to the engine, and told in the event loop that runs then. None of them waits for
    anything, and a fault in one of them costs no handshake."""

    def __init__(self, history: History, metrics: Metrics) -> None:
        self._lines = DecisionLog(time.monotonic)
        self._of_decisions = (metrics.note_decision, history.note_decision)
        self._of_verified = (metrics.note_verified, history.note_verified)
        self._of_reports = (metrics.note_report, history.note_report)

    def note_decision(self, decision: Decision) -> None:
        _tell([self._lines.note_decision], decision)
        _tell_soon(self._of_decisions, decision)

    def note_verified(self, verified: Verified) -> None:
        _tell([self._lines.note_verified], verified)
        _tell_soon(self._of_verified, verified)

    def note_report(self, reported: ReportedOutcome) -> None:
        _tell_soon(self._of_reports, reported)


def _tell_soon(observers: Sequence[Callable[[T], None]], what: T) -> None:
    asyncio.get_running_loop().call_soon(_tell, observers, what)


def _tell(observers: Sequence[Callable[[T], None]], what: T) -> None:
    for observer in observers:
        try:
            observer(what)
        except Exception:
            log.exception("an observer failed")
