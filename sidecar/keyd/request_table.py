"""What may be asked on which socket. A request that is not in the table is not answered.

Fields are checked here again, whatever the asker says it checked.
"""

from __future__ import annotations

import enum

from sidecar.errors import InvalidValue, shorten
from sidecar.keys.messages import EndKey, IssueKey, Request, VerifyKey
from sidecar.names import DialbackKey, Domain, StreamId


class Capability(enum.Enum):
    """What a socket lets its clients do."""

    LEDGER = "ledger"


NEEDED: dict[type[Request], Capability] = {
    IssueKey: Capability.LEDGER,
    VerifyKey: Capability.LEDGER,
    EndKey: Capability.LEDGER,
}


class NotPermitted(Exception):
    """No entry of the table lets this client ask this."""


def admit(request: Request, granted: frozenset[Capability]) -> None:
    """Check a request before anything acts on it. Raises NotPermitted, InvalidValue."""
    if NEEDED.get(type(request)) not in granted:
        raise NotPermitted(type(request).__name__)
    _check_domain(request.sender, "sender")
    _check_domain(request.target, "target")
    StreamId.parse(request.stream)
    if isinstance(request, VerifyKey):
        DialbackKey.parse(request.key)


def _check_domain(text: str, field: str) -> None:
    """Only the canonical form names a domain here: each has one entry, not one per spelling."""
    if Domain.parse(text, field) != text:
        raise InvalidValue(field, f"expected the canonical form of a domain, got {shorten(text)}")
