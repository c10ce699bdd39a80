"""The key policy of a sender domain: what is its own; the rest is the key service's default."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.preconditions import entity_tag

MIN_ROTATE_MS = 60_000
"""A secret that rotates more often would soon have too many versions waiting for their last key."""
MAX_ROTATE_MS = 10 * 365 * 86_400_000
MAX_ENTRIES = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPolicy:
    """What is set for one sender domain; None is the default.

    `rotate_ms`: age at which its secret is replaced, 10 % more or less. `max_entries`: live keys
    in the ledger, over which no more are issued for it.
    """

    rotate_ms: int | None = None
    max_entries: int | None = None


class Policies:
    """The defaults, and what sender domains have of their own."""

    def __init__(self, *, rotate_ms: int, max_entries: int) -> None:
        self.default_rotate_ms = rotate_ms
        self.default_max_entries = max_entries
        self.own_rotate_ms: dict[str, int] = {}
        self.own_max_entries: dict[str, int] = {}

    def own(self, domain: str) -> OwnPolicy:
        return OwnPolicy(
            rotate_ms=self.own_rotate_ms.get(domain), max_entries=self.own_max_entries.get(domain)
        )

    def put(self, domain: str, own: OwnPolicy) -> None:
        """From now on this is the domain's own."""
        _put(self.own_rotate_ms, domain, own.rotate_ms)
        _put(self.own_max_entries, domain, own.max_entries)

    def rotate_ms(self, domain: str) -> int:
        return self.own_rotate_ms.get(domain, self.default_rotate_ms)

    def max_entries(self, domain: str) -> int:
        return self.own_max_entries.get(domain, self.default_max_entries)

    def etag(self, domain: str) -> str:
        """The entity tag of the domain's policy, which the defaults are a part of."""
        own = self.own(domain)
        effective = (self.rotate_ms(domain), self.max_entries(domain))
        return entity_tag((domain, own.rotate_ms, own.max_entries, *effective))


def _put(mapping: dict[str, int], domain: str, value: int | None) -> None:
    if value is None:
        mapping.pop(domain, None)
    else:
        mapping[domain] = value
