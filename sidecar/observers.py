"""Who is told of each decision and report: the log, the metrics, the history."""

from __future__ import annotations

from sidecar.decision_log import log_decision
from sidecar.engine import Decision
from sidecar.jobs import ReportedOutcome
from sidecar.metrics import Metrics
from sidecar.store import History


class Observers:
    """Given to the engine; none of them waits for anything."""

    def __init__(self, history: History, metrics: Metrics) -> None:
        self._history = history
        self._metrics = metrics

    def note_decision(self, decision: Decision) -> None:
        log_decision(decision)
        self._metrics.note_decision(decision)
        self._history.note_decision(decision)

    def note_report(self, reported: ReportedOutcome) -> None:
        self._metrics.note_report(reported)
        self._history.note_report(reported)
