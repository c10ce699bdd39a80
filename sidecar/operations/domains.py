"""Sender domains and their key policy: how often a secret rotates, how many keys may live."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from sidecar.durations import PATTERN, Duration
from sidecar.errors import InvalidValue
from sidecar.keys.domain_policy import MAX_ENTRIES, MAX_ROTATE_MS, MIN_ROTATE_MS
from sidecar.keys.messages import (
    ChangePolicy,
    GetPolicies,
    KeyPolicy,
    ListVersions,
    PolicyField,
    PolicyList,
)
from sidecar.keys.scopes import Scope
from sidecar.names import Domain
from sidecar.operations.caller import Call
from sidecar.operations.fields import DomainName, Input, Output, Resource, Time
from sidecar.operations.operation import Operation
from sidecar.operations.parts import Parts
from sidecar.operations.refusals import Refusal
from sidecar.operations.secrets import (
    OneDomain,
    Version,
    VersionsOfDomain,
    by_domain,
    listed_versions,
)


class DomainPolicy(Resource, frozen=True):
    """A sender domain's key policy. `own` names what is set for it alone; the rest is the key
    service's default. `rotate_every`: age at which its secret is replaced, 10 % more or less, as
    30m, 24h or 7d. `max_entries`: live keys over which no more are issued for it."""

    domain: str
    rotate_every: str
    max_entries: int
    own: list[str]


class SenderDomain(DomainPolicy, frozen=True):
    """A sender domain: its key policy, and the versions of its secret."""

    active_version: int | None
    next_rotation: Time | None
    versions: list[Version]


class DomainPage(Output, frozen=True):
    items: list[SenderDomain]
    next: str | None


class DomainsInput(Input, frozen=True):
    after: Annotated[Domain | None, Meta(description="`next` of the page before")] = None


class PolicyChange(Input, frozen=True):
    """What is left out stays as it is; null is the key service's default again."""

    domain: DomainName
    rotate_every: (
        Annotated[
            str,
            Meta(
                pattern=PATTERN,
                description="replace its secret at this age: 30m, 24h, 7d; from 1m to ten years",
            ),
        ]
        | UnsetType
        | None
    ) = UNSET
    max_entries: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=MAX_ENTRIES,
                description="live keys in the ledger, over which no more are issued for it",
            ),
        ]
        | UnsetType
        | None
    ) = UNSET


class PolicyChanged(Struct, frozen=True):
    """An event: a sender domain's key policy was changed."""

    domain: str
    rotate_every: str
    max_entries: int
    own: list[str]


async def _list(parts: Parts, call: Call, given: DomainsInput) -> DomainPage:
    after: str | None = None
    domains = call.caller.domains
    if domains is None:
        listed = await listed_versions(parts, call, ListVersions(None, str(given.after or "")))
        found, after = by_domain(listed.versions), listed.after
    else:
        found = []
        for domain in domains:
            listed = await listed_versions(parts, call, ListVersions(domain))
            found += by_domain(listed.versions)
    policies = await _policies(parts, call, [each.domain for each in found])
    items = [_item(each, policy) for each, policy in zip(found, policies, strict=True)]
    return DomainPage(items=items, next=after)


async def _show(parts: Parts, call: Call, given: OneDomain) -> DomainPolicy:
    listed = await listed_versions(parts, call, ListVersions(str(given.domain)))
    if not listed.versions:
        raise Refusal("no-such-domain")
    (policy,) = await _policies(parts, call, [str(given.domain)])
    return _policy(policy)


async def _policies(parts: Parts, call: Call, domains: list[str]) -> list[KeyPolicy]:
    if not domains:
        return []
    reply = await parts.ask_keys(call, GetPolicies(domains))
    assert isinstance(reply, PolicyList)
    return reply.policies


async def _change(parts: Parts, call: Call, given: PolicyChange) -> DomainPolicy:
    request = ChangePolicy(str(given.domain), _changes(given), call.precondition)
    reply = await parts.ask_keys(call, request)
    assert isinstance(reply, KeyPolicy)
    policy = _policy(reply)
    if request.changes:
        told = PolicyChanged(policy.domain, policy.rotate_every, policy.max_entries, policy.own)
        parts.events.publish("domain", told, policy.domain)
    return policy


def _changes(given: PolicyChange) -> dict[PolicyField, int | None]:
    changes: dict[PolicyField, int | None] = {}
    if given.rotate_every is None:
        changes["rotate_ms"] = None
    elif given.rotate_every is not UNSET:
        changes["rotate_ms"] = _rotate_ms(given.rotate_every)
    if given.max_entries is not UNSET:
        changes["max_entries"] = given.max_entries
    return changes


def _rotate_ms(text: str) -> int:
    try:
        rotate_ms = Duration.parse(text).ms
    except InvalidValue as error:
        raise Refusal("invalid-input", error.problem, field="rotate_every") from error
    if not MIN_ROTATE_MS <= rotate_ms <= MAX_ROTATE_MS:
        bounds = f"{Duration(MIN_ROTATE_MS)} to {Duration(MAX_ROTATE_MS)}"
        raise Refusal("invalid-input", f"expected {bounds}", field="rotate_every")
    return rotate_ms


def _policy(policy: KeyPolicy) -> DomainPolicy:
    return DomainPolicy(
        domain=policy.domain,
        rotate_every=str(Duration(policy.rotate_ms)),
        max_entries=policy.max_entries,
        own=_own(policy),
        etag=policy.etag,
    )


def _item(found: VersionsOfDomain, policy: KeyPolicy) -> SenderDomain:
    active = next((each for each in found.versions if each.state == "active"), None)
    return SenderDomain(
        domain=found.domain,
        rotate_every=str(Duration(policy.rotate_ms)),
        max_entries=policy.max_entries,
        own=_own(policy),
        etag=policy.etag,
        active_version=None if active is None else active.number,
        next_rotation=None if active is None else active.next_rotation,
        versions=found.versions,
    )


def _own(policy: KeyPolicy) -> list[str]:
    own = (("rotate_every", policy.own_rotate), ("max_entries", policy.own_max_entries))
    return [name for name, is_own in own if is_own]


OPERATIONS = (
    Operation(
        name="domains-list",
        summary="List the sender domains, their key policy and the versions of their secrets",
        scope=Scope.SECRETS_READ,
        input=DomainsInput,
        output=DomainPage,
        handler=_list,
    ),
    Operation(
        name="domains-show",
        summary="Show a sender domain's key policy",
        scope=Scope.SECRETS_READ,
        input=OneDomain,
        output=DomainPolicy,
        handler=_show,
        subject="domain",
        refusals=("no-such-domain",),
    ),
    Operation(
        name="domains-set",
        summary="Change a sender domain's key policy",
        description="What is not given stays as it is; the default again is `null` in JSON, and "
        "the word `default` on the command line. Keys and secrets there are stay as they are.",
        scope=Scope.DOMAINS_WRITE,
        input=PolicyChange,
        output=DomainPolicy,
        handler=_change,
        subject="domain",
        acts=True,
        conditional=True,
        refusals=("no-such-domain",),
    ),
)
