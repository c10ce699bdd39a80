"""Rules about peers: who may shake hands with us, and what they have to show.

They are the daemon's, for all its domains: a token for some domains neither sees nor sets them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import TypeVar

from sidecar import logs
from sidecar.errors import PolicyUnavailable, shorten
from sidecar.keys.scopes import Scope
from sidecar.operations.caller import Call
from sidecar.operations.fields import at, at_if
from sidecar.operations.operation import Operation
from sidecar.operations.parts import Parts
from sidecar.operations.peer_rule_types import (
    NOT_COVERED,
    NewRule,
    PeerInput,
    PeerPolicy,
    RuleChange,
    RuleInput,
    RulePage,
    RuleRemoved,
    RuleSet,
    RuleShown,
    RulesInput,
    evidence_names,
    listed_rule,
    read_rule,
    set_rule,
    shown_rule,
)
from sidecar.operations.refusals import Refusal
from sidecar.peer_policy import PeerRule, RuleBook, Unchanged

log = logging.getLogger(__name__)

T = TypeVar("T")

_UNCHANGED = {
    Unchanged.STALE: "precondition-failed",
    Unchanged.MISSING: "no-such-rule",
    Unchanged.FULL: "too-many-rules",
}


async def _list(parts: Parts, call: Call, given: RulesInput) -> RulePage:
    found = _book(parts).page(str(given.after or ""), given.limit + 1)
    now_ms = parts.peer_rules.now_ms()
    items = [listed_rule(rule, now_ms) for rule in found[: given.limit]]
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
        evidence=evidence_names(terms.evidence),
        pins=sorted(terms.pins),
        reason=(rule.reason or None) if rule else None,
        expires=at_if(rule.expires_ms) if rule else None,
        not_covered=list(NOT_COVERED),
    )


async def _show(parts: Parts, call: Call, given: RuleInput) -> RuleShown:
    rule = _book(parts).get(given.domain)
    if rule is None:
        raise Refusal("no-such-rule")
    return shown_rule(rule, parts.peer_rules.now_ms())


async def _set(parts: Parts, call: Call, given: NewRule) -> RuleSet:
    now_ms = parts.peer_rules.now_ms()
    rule = read_rule(given, now_ms, call.caller.id)
    if rule.is_over(now_ms):
        raise Refusal("invalid-input", "expected a time to come", field="expires")
    created = await _change(parts.peer_rules.put(rule, call.precondition))
    log.info(
        "token %s set the rule for %s: %s%s",
        *(rule.changed_by, rule.pattern, _told(rule)),
        f", reason {shorten(rule.reason)}" if rule.reason else "",
        extra=logs.fields(token=rule.changed_by, peer=str(rule.pattern), action=given.action),
    )
    change = RuleChange("set", str(rule.pattern), rule.changed_by, given.action)
    parts.events.publish("policy", change)
    return set_rule(rule, now_ms, created=created)


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


async def _change(wish: Awaitable[Unchanged | T]) -> T:
    """Return what the change answers. Raises Refusal when nothing was changed."""
    try:
        changed = await wish
    except PolicyUnavailable as error:
        raise Refusal("policy-unavailable", str(error)) from error
    if isinstance(changed, Unchanged):
        raise Refusal(_UNCHANGED[changed])
    return changed


def _told(rule: PeerRule) -> str:
    asked = [rule.action.value]
    if rule.require_encryption:
        asked.append("encrypted")
    if rule.evidence is not None:
        asked.append(f"evidence {' or '.join(evidence_names(rule.evidence))}")
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
        output=RuleSet,
        handler=_set,
        for_all_domains=True,
        acts=True,
        conditional=True,
        creates=True,
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
