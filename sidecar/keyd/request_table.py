"""What may be asked on which socket. A request that is not in the table is not answered.

Fields are checked here again, whatever the asker says it checked.
"""

from __future__ import annotations

import enum
from pathlib import Path

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


NEEDED: dict[type[Request], Capability] = {
    IssueKey: Capability.LEDGER,
    VerifyKey: Capability.LEDGER,
    EndKey: Capability.LEDGER,
    ListVersions: Capability.ADMIN,
    RotateSecret: Capability.ADMIN,
    RevokeSecret: Capability.ADMIN,
    ImportSecret: Capability.ADMIN,
    RotateKek: Capability.ADMIN,
    GetStatus: Capability.ADMIN,
    Backup: Capability.ADMIN,
}


class NotPermitted(SidecarError):
    """No entry of the table lets this client ask this."""


def admit(request: Request, granted: frozenset[Capability]) -> None:
    """Check a request before anything acts on it. Raises NotPermitted, InvalidValue."""
    if NEEDED.get(type(request)) not in granted:
        raise NotPermitted(f"{type(request).__name__} is not permitted on this socket")
    if isinstance(request, IssueKey | VerifyKey | EndKey):
        _check_domain(request.sender, "sender")
        _check_domain(request.target, "target")
        StreamId.parse(request.stream)
        if isinstance(request, VerifyKey):
            DialbackKey.parse(request.key)
    elif isinstance(request, ListVersions | RotateSecret | RevokeSecret | ImportSecret):
        if request.domain is not None:
            _check_domain(request.domain, "domain")
        if isinstance(request, ImportSecret) and not 1 <= len(request.secret) <= MAX_SECRET_BYTES:
            raise InvalidValue("secret", f"expected 1 to {MAX_SECRET_BYTES} bytes")
    elif isinstance(request, Backup) and not Path(request.path).is_absolute():
        raise InvalidValue("path", "expected an absolute path")


def _check_domain(text: str, field: str) -> None:
    """Only the canonical form names a domain here: each has one entry, not one per spelling."""
    if Domain.parse(text, field) != text:
        raise InvalidValue(field, f"expected the canonical form of a domain, got {shorten(text)}")
