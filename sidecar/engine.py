"""Answers the four jobs. What it needs from below, it declares here as interfaces."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Protocol

from sidecar.errors import KeyRefused, Outage
from sidecar.jobs import (
    Check,
    Condition,
    Issue,
    Job,
    Outcome,
    Report,
    ReportedOutcome,
    Role,
    Step,
    Verdict,
    Verify,
)
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.peer_policy import CERTIFICATE_WANTED, Terms, refuse_check, refuse_issue

log = logging.getLogger(__name__)

_OUTAGE = Verdict.error(Condition.INTERNAL_SERVER_ERROR, "outage")
_FAULT = Verdict.error(Condition.INTERNAL_SERVER_ERROR, "fault")


class Question(Protocol):
    """A verify request, as `jobs.Verify` is one."""

    @property
    def pair(self) -> DomainPair: ...
    @property
    def stream(self) -> StreamId: ...
    @property
    def key(self) -> DialbackKey: ...


class KeyService(Protocol):
    """dialback-keyd as the engine sees it. Every method may raise KeyServiceUnavailable."""

    async def issue(
        self, pair: DomainPair, stream: StreamId, *, timeout_seconds: float
    ) -> DialbackKey:
        """Return the key for this pair and stream. Raises KeyRefused over a cap."""

    async def verify(
        self, pair: DomainPair, stream: StreamId, key: DialbackKey, *, timeout_seconds: float
    ) -> Verdict:
        """Return what the ledger of issued keys says."""

    async def verify_all(
        self, asked: Sequence[Question], *, timeout_seconds: float
    ) -> list[Verdict]:
        """The same for requests that came together, in their order."""

    async def end(self, ended: Sequence[tuple[DomainPair, StreamId]]) -> None:
        """Forget issued keys that nobody will ask about any more."""


class Checker(Protocol):
    """Asks the authoritative servers of others."""

    async def check(self, check: Check, terms: Terms, *, timeout_seconds: float) -> Verdict:
        """Return what was found; a fault of a peer is a verdict, never an exception."""


class Policy(Protocol):
    """What operators have decided about peers."""

    def terms_for(self, peer: Domain) -> Terms:
        """Return what `peer` has to meet now. Raises PolicyUnavailable."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One job answered: what was asked, what we said, and how long it took."""

    job: str
    pair: DomainPair
    stream: StreamId
    verdict: Verdict
    seconds: float
    external: str | None = None
    """What became of SASL EXTERNAL before."""

    def __str__(self) -> str:
        said = self.verdict
        details = [part.value for part in (said.condition, said.evidence) if part is not None]
        details += [said.reason] if said.reason else []
        outcome = f"{said.outcome.value} ({', '.join(details)})" if details else said.outcome.value
        detail = f": {said.detail}" if said.detail else ""
        return f"{self.job} {self.pair} {outcome} {self.seconds * 1000:.1f} ms{detail}"


@dataclass(frozen=True, slots=True)
class Verified:
    """Verify requests that came and were answered together, each with its verdict."""

    asked: Sequence[Question]
    verdicts: Sequence[Verdict]
    seconds: float

    def decisions(self) -> Iterator[Decision]:
        """The same, one by one."""
        for question, verdict in zip(self.asked, self.verdicts, strict=True):
            yield Decision("verify", question.pair, question.stream, verdict, self.seconds)


class Engine:
    """Decides. An outage of ours becomes an `error` verdict here, and nowhere else."""

    def __init__(
        self,
        keys: KeyService,
        checker: Checker,
        policy: Policy,
        *,
        clock: Callable[[], float],
        on_decision: Callable[[Decision], None],
        on_report: Callable[[ReportedOutcome], None] = lambda _: None,
        on_verified: Callable[[Verified], None] = lambda _: None,
    ) -> None:
        self._keys = keys
        self._checker = checker
        self._policy = policy
        self._clock = clock
        self._on_decision = on_decision
        self._on_report = on_report
        self._on_verified = on_verified
        self._untold = 0
        self._tell_at = -inf

    async def answer(self, job: Job, *, timeout_seconds: float) -> DialbackKey | Verdict | None:
        """Answer one job within `timeout_seconds`.

        A key only for `Issue`, nothing only for `Report`, a verdict otherwise.
        """
        if isinstance(job, Report):
            await self._report(job)
            return None
        start = self._clock()
        try:
            answer = await self._decide(job, timeout_seconds)
        except KeyRefused as refusal:
            answer = Verdict.error(Condition.RESOURCE_CONSTRAINT, refusal.reason)
        except Outage as outage:
            log.warning("%s %s: %s", _name(job), job.pair, outage)
            answer = _OUTAGE
        except Exception:
            log.exception("%s %s failed", _name(job), job.pair)
            answer = _FAULT
        verdict = answer if isinstance(answer, Verdict) else Verdict(Outcome.VALID)
        if verdict.reason == CERTIFICATE_WANTED:  # nothing is decided yet
            log.debug("%s %s: %s, %s", _name(job), job.pair, verdict.reason, verdict.detail)
            return answer
        self._on_decision(
            Decision(
                _name(job), job.pair, job.stream, verdict, self._clock() - start, _external(job)
            )
        )
        return answer

    async def verify_all(
        self, asked: Sequence[Question], *, timeout_seconds: float
    ) -> Sequence[Verdict]:
        """Answer verify requests that came together as `answer` does each, in their order."""
        start = self._clock()
        verdicts: Sequence[Verdict]
        try:
            verdicts = await self._keys.verify_all(asked, timeout_seconds=timeout_seconds)
        except Outage as outage:
            self._tell_outage(len(asked), outage)
            verdicts = [_OUTAGE] * len(asked)
        except Exception:
            log.exception("%d verify requests failed", len(asked))
            verdicts = [_FAULT] * len(asked)
        self._on_verified(Verified(asked, verdicts, self._clock() - start))
        return verdicts

    def _tell_outage(self, requests: int, outage: Outage) -> None:
        """Log a line a second at most: how often we are asked is up to strangers."""
        self._untold += requests
        now = self._clock()
        if now >= self._tell_at:
            log.warning("%d verify requests: %s", self._untold, outage)
            self._untold, self._tell_at = 0, now + 1.0

    async def _decide(
        self, job: Issue | Verify | Check, timeout_seconds: float
    ) -> DialbackKey | Verdict:
        match job:
            case Issue(pair=pair, stream=stream):
                terms = self._policy.terms_for(pair.target)
                refusal = refuse_issue(terms, job)
                if refusal is not None:
                    return _traced(terms, refusal, refusal.reason)
                return await self._keys.issue(pair, stream, timeout_seconds=timeout_seconds)
            case Verify(pair=pair, stream=stream, key=key):
                return await self._keys.verify(pair, stream, key, timeout_seconds=timeout_seconds)
            case Check():
                terms = self._policy.terms_for(job.pair.sender)
                refusal = refuse_check(terms, job)
                if refusal is not None:
                    return _traced(terms, refusal, refusal.reason)
                found = await self._checker.check(job, terms, timeout_seconds=timeout_seconds)
                return _traced(terms, found)

    async def _report(self, report: Report) -> None:
        for outcome in report.outcomes:
            self._on_report(outcome)
        ended = [
            (outcome.pair, outcome.stream)
            for outcome in report.outcomes
            if _ends_issued_key(outcome)
        ]
        if not ended:
            return
        try:
            await self._keys.end(ended)
        except Outage as outage:
            log.warning("report: %s", outage)


def _traced(terms: Terms, verdict: Verdict, reason: str | None = None) -> Verdict:
    """The verdict with the step that tells which rule there was, if there was one."""
    if terms.rule is None:
        return verdict
    step = Step("policy", 0.0, 0.0, f"rule {terms.rule}", reason)
    return replace(verdict, steps=(step, *verdict.steps))


def _ends_issued_key(outcome: ReportedOutcome) -> bool:
    """Whether a reported outcome means that no peer has cause to ask about our key again.

    An error does not: the peer may retry on the same stream.
    """
    return outcome.role is Role.INITIATING and outcome.type in ("valid", "invalid", "closed")


def _external(job: Job) -> str | None:
    return job.external if isinstance(job, Issue | Check) else None


def _name(job: Job) -> str:
    return type(job).__name__.lower()
