"""One log line for each handshake: at info what was decided about a key, the rest at debug."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sidecar import logs
from sidecar.engine import Decision, Verified
from sidecar.jobs import Outcome

log = logging.getLogger(__name__)

_OUTAGES = ("outage", "fault")
_IN_VAIN_PER_SECOND = 100


class DecisionLog:
    """Logs decisions. `clock` in seconds.

    Anybody may ask about keys that were never issued, and claim any domain: of the lines that say
    only so there are not many in a second, and then how many there would have been. Whoever asks
    much must not fill a disk, or have a journal drop what others did.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = 0.0
        self._in_vain = 0

    def note_decision(self, decision: Decision) -> None:
        """Log one job answered; a warning where our own outage was the answer.

        A key issued is no decision yet: its line is for debugging, the one of its verify stands for
        the handshake.
        """
        level = _level(decision)
        if not log.isEnabledFor(level) or (_is_in_vain(decision) and self._are_too_many()):
            return
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

    def note_verified(self, verified: Verified) -> None:
        """Log verify requests answered together: a line for each, where lines at info are written.

        Where only warnings are, the engine has said in one line what failed for all.
        """
        if log.isEnabledFor(logging.INFO):
            for decision in verified.decisions():
                self.note_decision(decision)

    def _are_too_many(self) -> bool:
        now = self._clock()
        if now - self._second >= 1.0:
            if (left_out := self._in_vain - _IN_VAIN_PER_SECOND) > 0:
                log.info("%d more requests in vain have no line of their own", left_out)
            self._second, self._in_vain = now, 0
        self._in_vain += 1
        return self._in_vain > _IN_VAIN_PER_SECOND


def _is_in_vain(decision: Decision) -> bool:
    return decision.job != "issue" and decision.verdict.outcome is not Outcome.VALID


def _level(decision: Decision) -> int:
    outcome = decision.verdict.outcome
    if outcome is Outcome.ERROR and decision.verdict.reason in _OUTAGES:
        return logging.WARNING
    issued = decision.job == "issue" and outcome is Outcome.VALID
    return logging.DEBUG if issued else logging.INFO
