"""Who is told of each decision and report: the log, the metrics, the history."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from sidecar.decision_log import DecisionLog
from sidecar.engine import Decision, Verified
from sidecar.jobs import ReportedOutcome
from sidecar.metrics import Metrics
from sidecar.store import History

log = logging.getLogger(__name__)

T = TypeVar("T")


class Observers:
    """Given to the engine. None of them waits for anything, and a fault in one of them costs no
    handshake."""

    def __init__(self, history: History, metrics: Metrics) -> None:
        lines = DecisionLog(time.monotonic)
        self._of_decisions = (lines.note_decision, metrics.note_decision, history.note_decision)
        self._of_verified = (lines.note_verified, metrics.note_verified, history.note_verified)
        self._of_reports = (metrics.note_report, history.note_report)

    def note_decision(self, decision: Decision) -> None:
        for tell in self._of_decisions:
            _tell(tell, decision)

    def note_verified(self, verified: Verified) -> None:
        for tell in self._of_verified:
            _tell(tell, verified)

    def note_report(self, reported: ReportedOutcome) -> None:
        for tell in self._of_reports:
            _tell(tell, reported)


def _tell(observer: Callable[[T], None], what: T) -> None:
    try:
        observer(what)
    except Exception:
        log.exception("an observer failed")
