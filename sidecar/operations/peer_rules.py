"""Rules about peers: who may shake hands with us, and what they have to show.

They are the daemon's, for all its domains: a token for some domains neither sees nor sets them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from datetime import datetime
from typing import Annotated, Literal, NoReturn

from msgspec import Meta, Struct, field

from sidecar import logs
from sidecar.errors import InvalidValue, PolicyUnavailable, shorten
from sidecar.jobs import Evidence
from sidecar.keys.scopes import Scope
from sidecar.operations.caller import Call
from sidecar.operations.fields import DomainName, Input, Limit, Output, Resource, at, at_if, to_ms
from sidecar.operations.needs import Parts
from sidecar.operations.operation import Operation
from sidecar.operations.refusals import Refusal
from sidecar.peer_policy import Action, PeerPattern, PeerRule, RuleBook, Unchanged
from sidecar.pkix.pins import read_pin

log = logging.getLogger(__name__)

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
_UNCHANGED = {
    Unchanged.STALE: "precondition-failed",
    Unchanged.MISSING: "no-such-rule",
    Unchanged.FULL: "too-many-rules",
}


class Rule(Resource, frozen=True):
    """A rule. `evidence` null: as the configuration says. `changed_by`: the id of the token."""

    domain: str
    action: ActionName
    require_encryption: bool
    evidence: list[EvidenceName] | None
    pins: list[str]
    reason: str
    expires: datetime | None
    expired: bool
    changed: datetime
    changed_by: str


class RuleShown(Rule, frozen=True):
    """A rule, and what it does not cover."""

    not_covered: list[str]


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
    expires: datetime | None
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
        list[Annotated[str, Meta(pattern="^[0-9A-Fa-f]{64}$")]],
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


async def _list(parts: Parts, call: Call, given: RulesInput) -> RulePage:
    found = _book(parts).page(str(given.after or ""), given.limit + 1)
    now_ms = parts.peer_rules.now_ms()
    items = [_rule(rule, now_ms) for rule in found[: given.limit]]
    following = items[-1].domain if len(found) > given.limit else None
    return RulePage(items=items, next=following, not_covered=list(NOT_COVERED))


async def _policy(parts: Parts, call: Call, given: PeerInput) -> PeerPolicy:
    rule = _book(parts).rule_for(given.domain, parts.peer_rules.now_ms())
    terms = parts.peer_rules.terms_for(given.domain)
    return PeerPolicy(
        domain=str(given.domain),
        rule=terms.rule,
        action="deny" if terms.denied else "allow",
        require_encryption=terms.needs_encryption,
        evidence=_names(terms.evidence),
        pins=sorted(terms.pins),
        reason=(rule.reason or None) if rule else None,
        expires=at_if(rule.expires_ms) if rule else None,
        not_covered=list(NOT_COVERED),
    )


async def _show(parts: Parts, call: Call, given: RuleInput) -> RuleShown:
    rule = _book(parts).get(given.domain)
    if rule is None:
        raise Refusal("no-such-rule")
    return _shown(rule, parts.peer_rules.now_ms())


async def _set(parts: Parts, call: Call, given: NewRule) -> RuleShown:
    now_ms = parts.peer_rules.now_ms()
    rule = _read(given, now_ms, call.caller.id)
    if rule.is_over(now_ms):
        raise Refusal("invalid-input", "expected a time to come", field="expires")
    await _change(parts.peer_rules.put(rule, call.precondition))
    log.info(
        "token %s set the rule for %s: %s%s",
        *(rule.changed_by, rule.pattern, _told(rule)),
        f", reason {shorten(rule.reason)}" if rule.reason else "",
        extra=logs.fields(token=rule.changed_by, peer=str(rule.pattern), action=given.action),
    )
    change = RuleChange("set", str(rule.pattern), rule.changed_by, given.action)
    parts.events.publish("policy", change)
    return _shown(rule, now_ms)


async def _remove(parts: Parts, call: Call, given: RuleInput) -> RuleRemoved:
    await _change(parts.peer_rules.remove(given.domain, call.precondition))
    token, pattern = call.caller.id, str(given.domain)
    log.info(
        "token %s removed the rule for %s",
        *(token, pattern),
        extra=logs.fields(token=token, peer=pattern),
    )
    parts.events.publish("policy", RuleChange("removed", pattern, token, None))
    return RuleRemoved(domain=pattern)


def _book(parts: Parts) -> RuleBook:
    try:
        return parts.peer_rules.book
    except PolicyUnavailable as error:
        raise Refusal("policy-unavailable", str(error)) from error


async def _change(wish: Awaitable[Unchanged | None]) -> None:
    """Raises Refusal when nothing was changed."""
    try:
        unchanged = await wish
    except PolicyUnavailable as error:
        raise Refusal("policy-unavailable", str(error)) from error
    if unchanged is not None:
        raise Refusal(_UNCHANGED[unchanged])


def _read(given: NewRule, now_ms: int, token: str) -> PeerRule:
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
        _refuse(error)


def _refuse(error: InvalidValue) -> NoReturn:
    raise Refusal("invalid-input", error.problem, field=error.field) from error


def _rule(rule: PeerRule, now_ms: int) -> Rule:
    return Rule(**_fields(rule, now_ms))  # type: ignore[arg-type]


def _shown(rule: PeerRule, now_ms: int) -> RuleShown:
    return RuleShown(**_fields(rule, now_ms), not_covered=list(NOT_COVERED))  # type: ignore[arg-type]


def _fields(rule: PeerRule, now_ms: int) -> dict[str, object]:
    return {
        "etag": rule.tag,
        "domain": str(rule.pattern),
        "action": rule.action.value,
        "require_encryption": rule.require_encryption,
        "evidence": None if rule.evidence is None else _names(rule.evidence),
        "pins": sorted(rule.pins),
        "reason": rule.reason,
        "expires": at_if(rule.expires_ms),
        "expired": rule.is_over(now_ms),
        "changed": at(rule.changed_ms),
        "changed_by": rule.changed_by,
    }


def _names(evidence: frozenset[Evidence]) -> list[EvidenceName]:
    return [each.value for each in Evidence if each in evidence]


def _told(rule: PeerRule) -> str:
    asked = [rule.action.value]
    if rule.require_encryption:
        asked.append("encrypted")
    if rule.evidence is not None:
        asked.append(f"evidence {' or '.join(_names(rule.evidence))}")
    if rule.pins:
        asked.append(f"{len(rule.pins)} pinned")
    if rule.expires_ms is not None:
        asked.append(f"until {at(rule.expires_ms):%Y-%m-%d %H:%M} UTC")
    return ", ".join(asked)


OPERATIONS = (
    Operation(
        name="peers-set",
        summary="Set the rule for a peer, for all below a domain, or for all peers",
        description="It decides the next handshake, alone: of several that fit the most specific "
        "one counts, and nothing is added from the others.",
        scope=Scope.PEERS_WRITE,
        input=NewRule,
        output=RuleShown,
        handler=_set,
        for_all_domains=True,
        acts=True,
        conditional=True,
        refusals=("too-many-rules", "policy-unavailable"),
    ),
    Operation(
        name="peers-show",
        summary="Show the rule for just that peer or pattern",
        scope=Scope.PEERS_READ,
        input=RuleInput,
        output=RuleShown,
        handler=_show,
        for_all_domains=True,
        refusals=("no-such-rule", "policy-unavailable"),
    ),
    Operation(
        name="peers-policy",
        summary="Show what holds for a peer, and which rule decides it",
        scope=Scope.PEERS_READ,
        input=PeerInput,
        output=PeerPolicy,
        handler=_policy,
        for_all_domains=True,
        refusals=("policy-unavailable",),
    ),
    Operation(
        name="peers-remove",
        summary="Remove the rule for a peer or a pattern",
        description="The next less specific rule decides from now on, or the configuration.",
        scope=Scope.PEERS_WRITE,
        input=RuleInput,
        output=RuleRemoved,
        handler=_remove,
        for_all_domains=True,
        acts=True,
        conditional=True,
        refusals=("no-such-rule", "policy-unavailable"),
    ),
    Operation(
        name="peer-rules-list",
        summary="List the rules about peers",
        scope=Scope.PEERS_READ,
        input=RulesInput,
        output=RulePage,
        handler=_list,
        for_all_domains=True,
        refusals=("policy-unavailable",),
    ),
)
