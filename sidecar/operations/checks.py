"""A check for a caller that has no component link: does a peer speak for its domain?"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from sidecar.jobs import Check, Verdict
from sidecar.keys.scopes import Scope
from sidecar.names import DialbackKey, DomainPair, StreamId
from sidecar.operations.caller import Call
from sidecar.operations.fields import DomainName, Input, Output
from sidecar.operations.operation import Operation
from sidecar.operations.parts import Parts
from sidecar.operations.patterns import VISIBLE
from sidecar.operations.refusals import Refusal

_TIMEOUT_SECONDS = 12.0


class CheckInput(Input, frozen=True):
    """What the peer sent in its `db:result` (XEP-0220 §2.1.2)."""

    sender: Annotated[DomainName, Meta(description="the peer's domain")]
    target: Annotated[DomainName, Meta(description="our domain, which it wants to talk to")]
    stream: Annotated[str, Meta(pattern=VISIBLE, description="the ID our server gave the stream")]
    key: Annotated[str, Meta(pattern=VISIBLE, description="the dialback key the peer sent")]
    encrypted: Annotated[
        bool, Meta(description="the stream of the peer is; a rule about it may ask for that")
    ] = False


class CheckVerdict(Output, frozen=True):
    """What was found. `condition` is the dialback error of XEP-0220 §2.5."""

    outcome: Literal["valid", "invalid", "error"]
    condition: str | None
    evidence: str | None
    reason: str | None


async def _check(parts: Parts, call: Call, given: CheckInput) -> CheckVerdict:
    if not parts.daemon.speaks_for(given.target):  # nor is it to become a label of the metrics
        raise Refusal("not-our-domain", str(given.target), field="target")
    job = Check(
        pair=DomainPair(sender=given.sender, target=given.target),
        stream=StreamId.parse(given.stream),
        key=DialbackKey.parse(given.key),
        encrypted=given.encrypted,
    )
    verdict = await parts.engine.answer(job, timeout_seconds=_TIMEOUT_SECONDS)
    assert isinstance(verdict, Verdict)
    return CheckVerdict(
        outcome=verdict.outcome.value,
        condition=verdict.condition and verdict.condition.value,
        evidence=verdict.evidence and verdict.evidence.value,
        reason=verdict.reason,
    )


OPERATIONS = (
    Operation(
        name="checks-run",
        summary="Check a dialback key with the peer's authoritative server",
        scope=Scope.CHECKS_RUN,
        input=CheckInput,
        output=CheckVerdict,
        handler=_check,
        subject="target",
        acts=True,
        refusals=("not-our-domain",),
    ),
)
