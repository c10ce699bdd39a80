"""What is remembered of a handshake: one record, put together from all that was told about it.

Our server's two roles in an outgoing handshake, Initiating and Authoritative (XEP-0220 §1.2),
are one record: issue, verify and reports of one domain pair and stream ID belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import msgspec
from msgspec import Struct

from sidecar.engine import Decision
from sidecar.jobs import Outcome, ReportedOutcome, Role, Step

RoleName = Literal["initiating", "authoritative", "receiving"]
OutcomeName = Literal["issued", "valid", "invalid", "error", "closed"]
"""`issued`: a key was made and nothing was heard since. `closed`: the stream ended undecided."""

_DECIDED = ("valid", "invalid", "error")

HandshakeKey = tuple[bool, str, str, str]
"""Whether it is incoming, sender domain, target domain, stream ID."""


class TraceStep(Struct, frozen=True, omit_defaults=True):
    """One step of a check, begun `after_ms` after it; `reason` only where it failed."""

    name: str
    after_ms: float
    ms: float
    reason: str | None = None
    detail: str | None = None


class HandshakeRecord(Struct, array_like=True):
    """What is known of one handshake. Times are milliseconds since 1970, durations microseconds.

    `reported` is what our server said became of it, `trace` the steps of a check as JSON.
    `external` is why SASL EXTERNAL did not do, `certificate` what a check thought of the peer's:
    `valid` or a flaw.
    """

    role: RoleName
    sender: str
    target: str
    stream: str
    started_ms: int
    updated_ms: int
    mechanism: str
    outcome: OutcomeName | None = None
    condition: str | None = None
    evidence: str | None = None
    reason: str | None = None
    issue_us: int | None = None
    verify_us: int | None = None
    check_us: int | None = None
    reported: OutcomeName | None = None
    trace: str | None = None
    external: str | None = None
    certificate: str | None = None

    @property
    def steps(self) -> list[TraceStep]:
        """The steps of the last check, in order."""
        return [] if self.trace is None else msgspec.json.decode(self.trace, type=list[TraceStep])

    @property
    def incoming(self) -> bool:
        return self.role == "receiving"

    @property
    def local(self) -> str:
        """Our own domain of the pair."""
        return self.target if self.incoming else self.sender

    @property
    def peer(self) -> str:
        """The other server's domain of the pair."""
        return self.sender if self.incoming else self.target

    @property
    def got_through(self) -> bool:
        """Whether we let the peer in, or our server reported that the peer took us: that a key was
        asked about says less, as a peer may still refuse."""
        return (self.outcome if self.incoming else self.reported) == "valid"

    @property
    def key(self) -> HandshakeKey:
        return (self.incoming, self.sender, self.target, self.stream)

    def add(self, later: HandshakeRecord) -> None:
        """Take in what was learnt later about the same handshake."""
        self.updated_ms = later.updated_ms
        if later.role == "initiating":
            self.role = "initiating"
        if later.mechanism != "dialback":
            self.mechanism = later.mechanism
        if later.issue_us is not None:
            self.issue_us = later.issue_us
        if later.verify_us is not None:
            self.verify_us = later.verify_us
        if later.check_us is not None:
            self.check_us = later.check_us
        if later.reported is not None and not (
            later.reported == "closed" and self.reported in _DECIDED
        ):
            self.reported = later.reported
        if later.trace is not None:
            self.trace = later.trace
        if later.external is not None:
            self.external = later.external
        if later.certificate is not None:
            self.certificate = later.certificate
        if later.outcome == "issued" and self.outcome in _DECIDED:
            return
        # Anybody may ask with a wrong key: what the right one has proven stays.
        if later.role == "authoritative" and later.reported is None and self.outcome == "valid":
            return
        if later.outcome == "closed" and self.outcome is not None:
            return
        if later.outcome is not None:
            if later.reported is None or later.outcome != self.outcome:
                self.condition, self.reason = later.condition, later.reason
                self.evidence = later.evidence
            self.outcome = later.outcome


def of_decision(decision: Decision, now_ms: int) -> HandshakeRecord:
    """Return what one answered job tells."""
    said = decision.verdict
    duration_us = round(decision.seconds * 1_000_000)
    job = decision.job
    issued = job == "issue" and said.outcome is Outcome.VALID
    return HandshakeRecord(
        role=_ROLES[job],
        sender=str(decision.pair.sender),
        target=str(decision.pair.target),
        stream=str(decision.stream),
        started_ms=now_ms - duration_us // 1000,
        updated_ms=now_ms,
        mechanism="dialback",
        outcome="issued" if issued else said.outcome.value,
        condition=said.condition.value if said.condition else None,
        evidence=said.evidence.value if said.evidence else None,
        reason=said.reason,
        issue_us=duration_us if job == "issue" else None,
        verify_us=duration_us if job == "verify" else None,
        check_us=duration_us if job == "check" else None,
        trace=_trace(said.steps),
        external=decision.external,
        certificate=_certificate(said.steps),
    )


def _certificate(steps: Sequence[Step]) -> str | None:
    """What a check thought of the certificate on the inbound stream, if it looked at one."""
    for step in steps:
        if step.name == "certificate":
            return step.reason or "valid"
    return None


def _trace(steps: Sequence[Step]) -> str | None:
    if not steps:
        return None
    told = [
        TraceStep(
            step.name,
            round(step.begun_seconds * 1000, 1),
            round(step.seconds * 1000, 1),
            step.reason,
            step.detail or None,
        )
        for step in steps
    ]
    return msgspec.json.encode(told).decode()


def of_report(reported: ReportedOutcome, now_ms: int) -> HandshakeRecord:
    """Return what our server learnt."""
    outcome = cast(OutcomeName, reported.type)
    return HandshakeRecord(
        role=_REPORTED_ROLES[reported.role],
        sender=str(reported.pair.sender),
        target=str(reported.pair.target),
        stream=str(reported.stream),
        started_ms=now_ms,
        updated_ms=now_ms,
        mechanism=reported.mechanism,
        outcome=outcome,
        reported=outcome,
    )


_ROLES: dict[str, RoleName] = {
    "issue": "initiating",
    "verify": "authoritative",
    "check": "receiving",
}
_REPORTED_ROLES: dict[Role, RoleName] = {
    Role.INITIATING: "initiating",
    Role.AUTHORITATIVE: "authoritative",
    Role.RECEIVING: "receiving",
}


class HandshakeFilter(Struct, frozen=True, kw_only=True):
    """Which handshakes to return. `locals` restricts to these domains of ours, None to all.

    `from_ms` and `until_ms` bound the start; `before` is a record's number: only older ones.
    """

    peer: str | None = None
    local: str | None = None
    locals: tuple[str, ...] | None = None
    role: RoleName | None = None
    outcome: OutcomeName | None = None
    from_ms: int | None = None
    until_ms: int | None = None
    before: int | None = None


class Success(Struct, frozen=True):
    """The last handshake of one domain pair that got through."""

    local: str
    at_ms: int
    mechanism: str
    evidence: str | None
    external: str | None
    certificate: str | None
    key_asked: bool


class PeerDirection(Struct):
    """What the history says of one peer in one direction; `valid`, `invalid` and `error` count
    outcomes, `dialback` and `external` what got through by which mechanism."""

    peer: str
    incoming: bool
    handshakes: int
    valid: int
    invalid: int
    error: int
    dialback: int
    external: int
    last_ms: int
    failed_ms: int | None = None
    failed_why: str | None = None
    successes: list[Success] = []

    @property
    def dialbacks(self) -> list[Success]:
        """Of the domain pairs, those that got through by dialback when they last did."""
        return [each for each in self.successes if each.mechanism == "dialback"]


class PeerTotals(Struct, frozen=True):
    """Peers in all, those that ever got through, those that need dialback: for either direction,
    for incoming, for outgoing handshakes."""

    peers: int
    through: int
    dialback: int
    incoming: int
    outgoing: int
