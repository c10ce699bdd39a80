"""The versions of the sender domains' secrets. No answer holds a secret."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from sidecar.keys.messages import (
    Changed,
    ImportSecret,
    ListedVersion,
    ListVersions,
    RevokeSecret,
    RotateSecret,
    SecretAction,
    VersionList,
)
from sidecar.keys.scopes import Scope
from sidecar.operations.caller import Call
from sidecar.operations.fields import DomainName, Input, Output, Time, at, at_if
from sidecar.operations.operation import Operation
from sidecar.operations.parts import Parts
from sidecar.operations.refusals import Refusal

DryRun = Annotated[bool, Meta(description="say what would be done, and do nothing")]
SecretText = Annotated[
    str,
    Meta(min_length=1, max_length=256, description="the secret's text, as the server has it"),
]
_SECONDS_PER_DAY = 86_400


class Version(Output, frozen=True):
    """One version of a sender domain's secret."""

    number: int
    state: Literal["active", "retired", "removed", "revoked"]
    kind: Literal["ledger", "stateless"]
    created: Time
    next_rotation: Time | None
    ends: Time | None
    revoked: Time | None
    removed: Time | None
    uses: int
    last_use: Time | None


class VersionsOfDomain(Output, frozen=True):
    domain: str
    versions: list[Version]


class OneDomain(Input, frozen=True):
    domain: DomainName


class RotateInput(Input, frozen=True):
    domain: DomainName
    dry_run: DryRun = False


class RevokeInput(Input, frozen=True):
    domain: DomainName
    version: (
        Annotated[int, Meta(ge=1, le=2**31, description="without it the active version")] | None
    ) = None
    dry_run: DryRun = False


class ImportInput(Input, frozen=True):
    domain: DomainName
    secret: SecretText
    days: Annotated[int, Meta(ge=1, le=30, description="trust it for so long")] = 7
    dry_run: DryRun = False


class VersionName(Struct, frozen=True):
    domain: str
    number: int


class ChangedVersions(Output, frozen=True):
    """How many versions were made, revoked or imported, and the first hundred of them.

    `successor`: the version that issues in the place of one that was revoked.
    """

    dry_run: bool
    count: int
    versions: list[VersionName]
    successor: VersionName | None = None


class SecretChange(Struct, frozen=True):
    """An event: what was done to a sender domain's secret, and which version issues in the place
    of one that was revoked."""

    action: Literal["rotated", "revoked", "imported", "changed"]
    domain: str
    versions: list[int]
    successor: int | None = None


async def _versions(parts: Parts, call: Call, given: OneDomain) -> VersionsOfDomain:
    listed = await listed_versions(parts, call, ListVersions(str(given.domain)))
    if not listed.versions:
        raise Refusal("no-such-domain")
    return by_domain(listed.versions)[0]


async def listed_versions(parts: Parts, call: Call, request: ListVersions) -> VersionList:
    """Ask the key service for versions. Raises Refusal."""
    reply = await parts.ask_keys(call, request)
    assert isinstance(reply, VersionList)
    return reply


async def _rotate(parts: Parts, call: Call, given: RotateInput) -> ChangedVersions:
    request = RotateSecret(str(given.domain))
    return await _change(parts, call, request, "rotated", given.dry_run)


async def _revoke(parts: Parts, call: Call, given: RevokeInput) -> ChangedVersions:
    request = RevokeSecret(str(given.domain), given.version)
    return await _change(parts, call, request, "revoked", given.dry_run)


async def _import(parts: Parts, call: Call, given: ImportInput) -> ChangedVersions:
    material, seconds = given.secret.encode(), given.days * _SECONDS_PER_DAY
    request = ImportSecret(str(given.domain), material, seconds)
    return await _change(parts, call, request, "imported", given.dry_run)


async def _change(
    parts: Parts,
    call: Call,
    request: SecretAction,
    action: Literal["rotated", "revoked", "imported"],
    dry_run: bool,
) -> ChangedVersions:
    reply = await parts.ask_keys(call, request, dry_run=dry_run)
    assert isinstance(reply, Changed)
    if not dry_run:
        numbers = [number for _, number in reply.versions]
        change = SecretChange(action, str(request.domain), numbers, reply.successor)
        parts.events.publish("secret", change, str(request.domain))
    return changed_versions(reply, dry_run=dry_run)


def changed_versions(reply: Changed, *, dry_run: bool) -> ChangedVersions:
    """The answer to an action, from what the key service says was done or would be."""
    named = [VersionName(domain, number) for domain, number in reply.versions]
    successor = None
    if reply.successor is not None:
        successor = VersionName(named[0].domain, reply.successor)
    return ChangedVersions(dry_run=dry_run, count=reply.count, versions=named, successor=successor)


def by_domain(versions: Sequence[ListedVersion]) -> list[VersionsOfDomain]:
    """Group a list of versions, which comes in order of domain."""
    domains: dict[str, list[Version]] = {}
    for listed in versions:
        domains.setdefault(listed.domain, []).append(_version(listed))
    return [VersionsOfDomain(domain=name, versions=listed) for name, listed in domains.items()]


def _version(listed: ListedVersion) -> Version:
    return Version(
        number=listed.number,
        state=listed.state,  # type: ignore[arg-type] # keyd's words
        kind=listed.kind,  # type: ignore[arg-type]
        created=at(listed.created_ms),
        next_rotation=at_if(listed.next_rotation_ms),
        ends=at_if(listed.ends_ms),
        revoked=at_if(listed.revoked_ms),
        removed=at_if(listed.removed_ms),
        uses=listed.uses,
        last_use=at_if(listed.last_use_ms),
    )


OPERATIONS = (
    Operation(
        name="secrets-list",
        summary="List the versions of one sender domain's secret",
        scope=Scope.SECRETS_READ,
        input=OneDomain,
        output=VersionsOfDomain,
        handler=_versions,
        subject="domain",
        refusals=("no-such-domain",),
    ),
    Operation(
        name="secrets-rotate",
        summary="Make a new secret for a sender domain",
        description="Keys issued under the one before still verify until they expire.",
        scope=Scope.SECRETS_WRITE,
        input=RotateInput,
        output=ChangedVersions,
        handler=_rotate,
        subject="domain",
        acts=True,
        once=True,
        refusals=("no-such-domain", "too-many-retired", "repeat-key-reused"),
    ),
    Operation(
        name="secrets-revoke",
        summary="Destroy a version now",
        description="Keys issued under it verify no more. If it was the active one, the next is "
        "made in the same step.",
        scope=Scope.SECRETS_WRITE,
        input=RevokeInput,
        output=ChangedVersions,
        handler=_revoke,
        subject="domain",
        acts=True,
        once=True,
        refusals=("no-such-version", "repeat-key-reused"),
    ),
    Operation(
        name="secrets-import",
        summary="Trust keys made with a server's own secret, for a migration",
        description="Such keys are verified by computing them again, without the ledger: while "
        "this lasts, whoever knows that secret can forge keys of the domain.",
        scope=Scope.SECRETS_WRITE,
        input=ImportInput,
        output=ChangedVersions,
        handler=_import,
        subject="domain",
        acts=True,
        once=True,
        refusals=("too-many-retired", "repeat-key-reused"),
    ),
)
