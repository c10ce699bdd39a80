"""What may be asked on which socket. A request that is not in the table is not answered.

Fields are checked here again, whatever the asker says it checked.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from sidecar.errors import InvalidValue, SidecarError, shorten
from sidecar.keys.domain_policy import MAX_ENTRIES, MAX_ROTATE_MS, MIN_ROTATE_MS
from sidecar.keys.messages import (
    AsBearer,
    Backup,
    ChangePolicy,
    CreateToken,
    DryRun,
    EndKey,
    GetPolicies,
    GetStatus,
    ImportSecret,
    IssueKey,
    JudgeKey,
    ListTokens,
    ListVersions,
    Request,
    RevokeSecret,
    RevokeToken,
    RotateKek,
    RotateSecret,
    VerifyKey,
    WhoBears,
)
from sidecar.keys.scopes import ALL_SCOPES
from sidecar.names import DialbackKey, Domain, StreamId

MAX_SECRET_BYTES = 1024
MAX_NAME_CHARACTERS = 100
MAX_TOKEN_CHARACTERS = 100
MAX_TOKEN_DOMAINS = 100
MAX_TOKEN_SECONDS = 10 * 365 * 86400
MAX_REPEAT_KEY_CHARACTERS = 200
MAX_POLICIES = 100
MAX_TAGS = 16
MAX_TAG_CHARACTERS = 64
POLICY_BOUNDS = {"rotate_ms": (MIN_ROTATE_MS, MAX_ROTATE_MS), "max_entries": (1, MAX_ENTRIES)}


class Capability(enum.Enum):
    """What a socket lets its clients do."""

    LEDGER = "ledger"
    ADMIN = "admin"
    BEARER = "bearer"
    FACTS = "facts"


class NotPermitted(SidecarError):
    """No entry of the table lets this client ask this."""


def admit(request: Request, granted: frozenset[Capability]) -> None:
    """Check a request before anything acts on it. Raises NotPermitted, InvalidValue."""
    entry = TABLE.get(type(request))
    if entry is None or entry[0] not in granted:
        raise NotPermitted(f"{type(request).__name__} is not permitted on this socket")
    entry[1](request)


def _triple(request: IssueKey | VerifyKey | EndKey | JudgeKey) -> None:
    _check_domain(request.sender, "sender")
    _check_domain(request.target, "target")
    StreamId.parse(request.stream)


def _triple_and_key(request: VerifyKey | JudgeKey) -> None:
    _triple(request)
    DialbackKey.parse(request.key)


def _domain_if_any(request: ListVersions | RotateSecret) -> None:
    if request.domain is not None:
        _check_domain(request.domain, "domain")


def _domains(request: GetPolicies) -> None:
    if not 1 <= len(request.domains) <= MAX_POLICIES:
        raise InvalidValue("domains", f"expected 1 to {MAX_POLICIES}")
    for domain in request.domains:
        _check_domain(domain, "domains")


def _policy_change(request: ChangePolicy) -> None:
    _check_domain(request.domain, "domain")
    for name, value in request.changes.items():
        least, most = POLICY_BOUNDS[name]
        if value is not None and not least <= value <= most:
            raise InvalidValue(name, f"expected {least} to {most}, got {value}")
    for tags in (request.precondition.match, request.precondition.none_match):
        if tags is not None and len(tags) > MAX_TAGS:
            raise InvalidValue("precondition", f"expected at most {MAX_TAGS} tags")
        for tag in tags or ():
            _printable(tag, "precondition", MAX_TAG_CHARACTERS)


def _domain(request: RevokeSecret | ImportSecret) -> None:
    _check_domain(request.domain, "domain")


def _domain_and_secret(request: ImportSecret) -> None:
    _domain(request)
    if not 1 <= len(request.secret) <= MAX_SECRET_BYTES:
        raise InvalidValue("secret", f"expected 1 to {MAX_SECRET_BYTES} bytes")


def _absolute_path(request: Backup) -> None:
    if not Path(request.path).is_absolute() or "\0" in request.path:
        raise InvalidValue("path", "expected an absolute path")


def _new_token(request: CreateToken) -> None:
    _printable(request.name, "name", MAX_NAME_CHARACTERS)
    if not request.scopes or not set(request.scopes) <= set(ALL_SCOPES):
        raise InvalidValue("scopes", "expected scopes that there are")
    if request.domains is not None:
        if not 1 <= len(request.domains) <= MAX_TOKEN_DOMAINS:
            raise InvalidValue("domains", f"expected 1 to {MAX_TOKEN_DOMAINS}")
        for domain in request.domains:
            _check_domain(domain, "domains")
    if request.seconds is not None and not 1 <= request.seconds <= MAX_TOKEN_SECONDS:
        raise InvalidValue("seconds", f"expected 1 to {MAX_TOKEN_SECONDS}")


def _token_id(request: RevokeToken) -> None:
    _printable(request.id, "id", MAX_TOKEN_CHARACTERS)


def _token(request: WhoBears | AsBearer) -> None:
    if not 1 <= len(request.token) <= MAX_TOKEN_CHARACTERS:
        raise InvalidValue("token", f"expected 1 to {MAX_TOKEN_CHARACTERS} characters")


def _bearer_and_inner(request: AsBearer) -> None:
    _token(request)
    if request.repeat_key is not None:
        _printable(request.repeat_key, "repeat_key", MAX_REPEAT_KEY_CHARACTERS)
    _inner(request)


def _inner(request: AsBearer | DryRun) -> None:
    TABLE[type(request.request)][1](request.request)


def _printable(text: str, field: str, most: int) -> None:
    if not (1 <= len(text) <= most and text.isprintable()):
        raise InvalidValue(field, f"expected 1 to {most} printable characters")


def _nothing(_: RotateKek | GetStatus | ListTokens) -> None:
    """It has no field."""


@lru_cache(maxsize=8192)
def _check_domain(text: str, field: str) -> None:
    """Only the canonical form names a domain here: each has one entry, not one per spelling."""
    if Domain.parse(text, field) != text:
        raise InvalidValue(field, f"expected the canonical form of a domain, got {shorten(text)}")


TABLE: dict[type[Request], tuple[Capability, Callable[[Any], None]]] = {
    IssueKey: (Capability.LEDGER, _triple),
    VerifyKey: (Capability.LEDGER, _triple_and_key),
    EndKey: (Capability.LEDGER, _triple),
    ListVersions: (Capability.FACTS, _domain_if_any),
    JudgeKey: (Capability.ADMIN, _triple_and_key),
    GetPolicies: (Capability.FACTS, _domains),
    ChangePolicy: (Capability.ADMIN, _policy_change),
    RotateSecret: (Capability.ADMIN, _domain_if_any),
    RevokeSecret: (Capability.ADMIN, _domain),
    ImportSecret: (Capability.ADMIN, _domain_and_secret),
    DryRun: (Capability.ADMIN, _inner),
    RotateKek: (Capability.ADMIN, _nothing),
    GetStatus: (Capability.FACTS, _nothing),
    Backup: (Capability.ADMIN, _absolute_path),
    CreateToken: (Capability.ADMIN, _new_token),
    ListTokens: (Capability.ADMIN, _nothing),
    RevokeToken: (Capability.ADMIN, _token_id),
    AsBearer: (Capability.BEARER, _bearer_and_inner),
    WhoBears: (Capability.BEARER, _token),
}
"""Each request: who may ask it, and the check of its fields."""
