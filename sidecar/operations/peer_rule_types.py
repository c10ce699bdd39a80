"""What is said and told of rules about peers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from sidecar.errors import InvalidValue
from sidecar.jobs import Evidence
from sidecar.operations.fields import (
    DomainName,
    Input,
    Limit,
    Output,
    Resource,
    Time,
    at,
    at_if,
    to_ms,
)
from sidecar.operations.patterns import PIN
from sidecar.operations.refusals import Refusal
from sidecar.peer_policy import Action, PeerPattern, PeerRule
from sidecar.pkix.pins import read_pin

NOT_COVERED = (
    "SASL EXTERNAL: your server itself lets a peer in by its certificate, and no rule is asked",
    "streams that are verified already: a rule decides the next handshake",
    "verify: whoever asks about a key that we issued is answered",
    "your server's own dialback, where it falls back to it while the daemon is down",
)
"""What no rule decides; said wherever rules are shown."""

ActionName = Literal["allow", "deny"]
EvidenceName = Literal["certificate", "same-certificate", "key"]
PatternName = Annotated[
    PeerPattern,
    Meta(description="a peer's domain, *.DOMAIN for all below it, or * for all without a rule"),
]


class Rule(Resource, frozen=True):
    """A rule. `evidence` null: as the configuration says. `changed_by`: the id of the token."""

    domain: str
    action: ActionName
    require_encryption: bool
    evidence: list[EvidenceName] | None
    pins: list[str]
    reason: str
    expires: Time | None
    expired: bool
    changed: Time
    changed_by: str


class RuleShown(Rule, frozen=True):
    """A rule, and what it does not cover."""

    not_covered: list[str]


class RuleSet(RuleShown, frozen=True):
    """A rule as it was set, and what it does not cover. `created`: there was none before."""

    created: bool


class RulePage(Output, frozen=True):
    """In order of `domain`, the ones that have expired included."""

    items: list[Rule]
    next: str | None
    not_covered: list[str]


class PeerPolicy(Output, frozen=True):
    """What holds for one peer. `rule` is the one that decides, null where the configuration does:
    of those that have not expired, the one for the domain itself, else for the nearest parent."""

    domain: str
    rule: str | None
    action: ActionName
    require_encryption: bool
    evidence: list[EvidenceName]
    pins: list[str]
    reason: str | None
    expires: Time | None
    not_covered: list[str]


class PeerInput(Input, frozen=True):
    domain: DomainName


class RuleInput(Input, frozen=True):
    domain: PatternName


class RulesInput(Input, frozen=True):
    after: Annotated[PeerPattern | None, Meta(description="`next` of the page before")] = None
    limit: Limit = 50


class NewRule(Input, frozen=True):
    """The whole rule: what is left out is not asked for."""

    domain: PatternName
    action: Annotated[ActionName, Meta(description="deny: no dialback, in either direction")] = (
        "allow"
    )
    require_encryption: Annotated[
        bool, Meta(description="TLS on its stream to us, on ours to it, and to ask about its key")
    ] = False
    evidence: (
        Annotated[
            list[EvidenceName],
            Meta(min_length=1, max_length=3, description="what may prove its domain to us"),
        ]
        | None
    ) = None
    pins: Annotated[
        list[Annotated[str, Meta(pattern=PIN)]],
        Meta(max_length=8, description="SHA-256 of its certificate's public key, in hex"),
    ] = field(default_factory=list)
    reason: Annotated[
        str, Meta(max_length=200, description="why, for those who read the rule later")
    ] = ""
    expires: Annotated[
        datetime | None, Meta(description="until when it holds; without it for good")
    ] = None


class RuleRemoved(Output, frozen=True):
    domain: str


class RuleChange(Struct, frozen=True):
    """An event: a rule was set or removed, by the token with that id."""

    change: Literal["set", "removed"]
    domain: str
    by: str
    action: ActionName | None


def read_rule(given: NewRule, now_ms: int, token: str) -> PeerRule:
    """The rule that is meant, set by `token` now. Raises Refusal."""
    try:
        return PeerRule(
            pattern=given.domain,
            action=Action(given.action),
            require_encryption=given.require_encryption,
            evidence=None if given.evidence is None else frozenset(map(Evidence, given.evidence)),
            pins=frozenset(map(read_pin, given.pins)),
            reason=given.reason,
            expires_ms=to_ms(given.expires),
            changed_ms=now_ms,
            changed_by=token,
        )
    except InvalidValue as error:
        raise Refusal("invalid-input", error.problem, field=error.field) from error


def listed_rule(rule: PeerRule, now_ms: int) -> Rule:
    return Rule(**_fields(rule, now_ms))  # type: ignore[arg-type]


def shown_rule(rule: PeerRule, now_ms: int) -> RuleShown:
    return RuleShown(**_fields(rule, now_ms), not_covered=list(NOT_COVERED))  # type: ignore[arg-type]


def set_rule(rule: PeerRule, now_ms: int, *, created: bool) -> RuleSet:
    fields = _fields(rule, now_ms)
    return RuleSet(**fields, not_covered=list(NOT_COVERED), created=created)  # type: ignore[arg-type]


def _fields(rule: PeerRule, now_ms: int) -> dict[str, object]:
    return {
        "etag": rule.tag,
        "domain": str(rule.pattern),
        "action": rule.action.value,
        "require_encryption": rule.require_encryption,
        "evidence": None if rule.evidence is None else evidence_names(rule.evidence),
        "pins": sorted(rule.pins),
        "reason": rule.reason,
        "expires": at_if(rule.expires_ms),
        "expired": rule.is_over(now_ms),
        "changed": at(rule.changed_ms),
        "changed_by": rule.changed_by,
    }


def evidence_names(evidence: frozenset[Evidence]) -> list[EvidenceName]:
    return [each.value for each in Evidence if each in evidence]
