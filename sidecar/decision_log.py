"""One log line for each handshake: at info what was decided about a key, the rest at debug."""

from __future__ import annotations

import logging

from sidecar import logs
from sidecar.engine import Decision, Verified
from sidecar.jobs import Outcome

log = logging.getLogger(__name__)

_OUTAGES = ("outage", "fault")


def log_decision(decision: Decision) -> None:
    """Log one job answered; a warning where our own outage was the answer.

    A key issued is no decision yet: its line is for debugging, the one of its verify stands for
    the handshake.
    """
    level = _level(decision)
    if log.isEnabledFor(level):
        said = decision.verdict
        log.log(
            level,
            "%s",
            decision,
            extra=logs.fields(
                job=decision.job,
                sender=str(decision.pair.sender),
                target=str(decision.pair.target),
                stream=str(decision.stream),
                outcome=said.outcome.value,
                condition=said.condition and said.condition.value,
                evidence=said.evidence and said.evidence.value,
                reason=said.reason,
                detail=said.detail or None,
                milliseconds=round(decision.seconds * 1000, 1),
            ),
        )


def log_verified(verified: Verified) -> None:
    """Log verify requests answered together: a line for each, where lines at info are written.

    Where only warnings are, the engine has said in one line what failed for all.
    """
    if log.isEnabledFor(logging.INFO):
        for decision in verified.decisions():
            log_decision(decision)


def _level(decision: Decision) -> int:
    outcome = decision.verdict.outcome
    if outcome is Outcome.ERROR and decision.verdict.reason in _OUTAGES:
        return logging.WARNING
    issued = decision.job == "issue" and outcome is Outcome.VALID
    return logging.DEBUG if issued else logging.INFO
