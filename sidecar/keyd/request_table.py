"""What may be asked on which socket. A request that is not in the table is not answered.

Fields are checked here again, whatever the asker says it checked.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sidecar.errors import InvalidValue, SidecarError, shorten
from sidecar.keys.messages import (
    Backup,
    EndKey,
    GetStatus,
    ImportSecret,
    IssueKey,
    ListVersions,
    Request,
    RevokeSecret,
    RotateKek,
    RotateSecret,
    VerifyKey,
)
from sidecar.names import DialbackKey, Domain, StreamId

MAX_SECRET_BYTES = 1024


class Capability(enum.Enum):
    """What a socket lets its clients do."""

    LEDGER = "ledger"
    ADMIN = "admin"


class NotPermitted(SidecarError):
    """No entry of the table lets this client ask this."""


def admit(request: Request, granted: frozenset[Capability]) -> None:
    """Check a request before anything acts on it. Raises NotPermitted, InvalidValue."""
    entry = TABLE.get(type(request))
    if entry is None or entry[0] not in granted:
        raise NotPermitted(f"{type(request).__name__} is not permitted on this socket")
    entry[1](request)


def _triple(request: IssueKey | VerifyKey | EndKey) -> None:
    _check_domain(request.sender, "sender")
    _check_domain(request.target, "target")
    StreamId.parse(request.stream)


def _triple_and_key(request: VerifyKey) -> None:
    _triple(request)
    DialbackKey.parse(request.key)


def _domain_if_any(request: ListVersions | RotateSecret) -> None:
    if request.domain is not None:
        _check_domain(request.domain, "domain")


def _domain(request: RevokeSecret | ImportSecret) -> None:
    _check_domain(request.domain, "domain")


def _domain_and_secret(request: ImportSecret) -> None:
    _domain(request)
    if not 1 <= len(request.secret) <= MAX_SECRET_BYTES:
        raise InvalidValue("secret", f"expected 1 to {MAX_SECRET_BYTES} bytes")


def _absolute_path(request: Backup) -> None:
    if not Path(request.path).is_absolute():
        raise InvalidValue("path", "expected an absolute path")


def _nothing(_: RotateKek | GetStatus) -> None:
    """It has no field."""


def _check_domain(text: str, field: str) -> None:
    """Only the canonical form names a domain here: each has one entry, not one per spelling."""
    if Domain.parse(text, field) != text:
        raise InvalidValue(field, f"expected the canonical form of a domain, got {shorten(text)}")


TABLE: dict[type[Request], tuple[Capability, Callable[[Any], None]]] = {
    IssueKey: (Capability.LEDGER, _triple),
    VerifyKey: (Capability.LEDGER, _triple_and_key),
    EndKey: (Capability.LEDGER, _triple),
    ListVersions: (Capability.ADMIN, _domain_if_any),
    RotateSecret: (Capability.ADMIN, _domain_if_any),
    RevokeSecret: (Capability.ADMIN, _domain),
    ImportSecret: (Capability.ADMIN, _domain_and_secret),
    RotateKek: (Capability.ADMIN, _nothing),
    GetStatus: (Capability.ADMIN, _nothing),
    Backup: (Capability.ADMIN, _absolute_path),
}
"""Each request: who may ask it, and the check of its fields."""
