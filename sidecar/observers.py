"""Who is told of each decision and report: the log, the history, the metrics."""

from __future__ import annotations

from sidecar.decision_log import log_decision
from sidecar.engine import Decision
from sidecar.jobs import ReportedOutcome
from sidecar.store import History


class Observers:
    """Given to the engine; none of them waits for anything."""

    def __init__(self, history: History) -> None:
        self._history = history

    def note_decision(self, decision: Decision) -> None:
        log_decision(decision)
        self._history.note_decision(decision)

    def note_report(self, reported: ReportedOutcome) -> None:
        self._history.note_report(reported)
