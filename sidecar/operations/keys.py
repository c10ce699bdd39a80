"""Keys for callers that have no component link: issuing one, and looking at what one is worth."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from sidecar.jobs import Issue, Verdict
from sidecar.keys.messages import Judged, JudgeKey
from sidecar.keys.scopes import Scope
from sidecar.names import DialbackKey, DomainPair, StreamId
from sidecar.operations.caller import Call
from sidecar.operations.fields import DomainName, Input, Output
from sidecar.operations.operation import Operation
from sidecar.operations.parts import Parts
from sidecar.operations.patterns import VISIBLE
from sidecar.operations.refusals import Refusal

_TIMEOUT_SECONDS = 3.0
_OUTAGES = ("outage", "fault")

OurDomain = Annotated[DomainName, Meta(description="our domain")]
PeerDomain = Annotated[DomainName, Meta(description="the peer's domain")]
StreamName = Annotated[str, Meta(pattern=VISIBLE, description="the ID the peer gave the stream")]


class IssueInput(Input, frozen=True):
    """What `db:result` will be about (XEP-0220 §2.1.1)."""

    sender: OurDomain
    target: PeerDomain
    stream: StreamName
    encrypted: Annotated[
        bool, Meta(description="the stream to the peer is; a rule about it may ask for that")
    ] = False


class IssuedKey(Output, frozen=True):
    """The key to send."""

    key: str


class VerifyInput(Input, frozen=True):
    """What a `db:verify` is about (XEP-0220 §2.2.2)."""

    sender: OurDomain
    target: PeerDomain
    stream: StreamName
    key: Annotated[str, Meta(pattern=VISIBLE, description="the dialback key")]


class KeyVerdict(Output, frozen=True):
    """What the key is worth now. `reason` is a stable code."""

    outcome: Literal["valid", "invalid", "error"]
    reason: str | None


async def _issue(parts: Parts, call: Call, given: IssueInput) -> IssuedKey:
    if not parts.daemon.issues_keys_for(given.sender):
        raise Refusal("keys-not-issued", "admin.issue_keys_for does not name the domain")
    job = Issue(
        pair=DomainPair(sender=given.sender, target=given.target),
        stream=StreamId.parse(given.stream),
        encrypted=given.encrypted,
    )
    answer = await parts.engine.answer(job, timeout_seconds=_TIMEOUT_SECONDS)
    if isinstance(answer, DialbackKey):
        return IssuedKey(key=answer.reveal())
    assert isinstance(answer, Verdict)
    reason = answer.reason or ""
    if reason in _OUTAGES:
        raise Refusal("key-service-unavailable")
    raise Refusal("too-many-keys" if reason.startswith("cap-") else "peer-refused", reason)


async def _verify(parts: Parts, call: Call, given: VerifyInput) -> KeyVerdict:
    request = JudgeKey(str(given.sender), str(given.target), given.stream, given.key)
    judged = await parts.ask_keys(call, request)
    assert isinstance(judged, Judged)
    return KeyVerdict(outcome=judged.outcome, reason=judged.reason)


OPERATIONS = (
    Operation(
        name="keys-issue",
        summary="Issue a dialback key",
        description="Only for domains that `admin.issue_keys_for` names: whoever has the key can "
        "speak for the domain on that stream. The same again gives the same key, so that an "
        "Idempotency-Key is not needed, and none is kept.",
        scope=Scope.KEYS_ISSUE,
        input=IssueInput,
        output=IssuedKey,
        handler=_issue,
        subject="sender",
        acts=True,
        refusals=("keys-not-issued", "peer-refused", "too-many-keys"),
        secret=True,
    ),
    Operation(
        name="keys-verify",
        summary="Tell what a dialback key of ours is worth now",
        description="Uses nothing up: the peer's own question gets its answer all the same.",
        scope=Scope.KEYS_VERIFY,
        input=VerifyInput,
        output=KeyVerdict,
        handler=_verify,
        subject="sender",
    ),
)
