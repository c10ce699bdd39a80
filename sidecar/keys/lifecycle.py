"""The life of a secret version: its state is computed from times, never stored.

ledger     ACTIVE ──> RETIRED ──> REMOVED         issues; then verifies; then destroyed
              └──────────┴──────> REVOKED         at once, and destroyed
stateless             RETIRED ──> REMOVED         imported: only ever verifies, until its end
                         └──────> REVOKED
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

MAX_RETIRED = 16
"""Versions of one domain that may be waiting for their last key to expire."""

MAX_STATELESS_MS = 30 * 24 * 3_600_000
"""An imported secret may be trusted without the ledger for this long."""

_JITTER = 0.1


class State(enum.Enum):
    ACTIVE = "active"
    RETIRED = "retired"
    REMOVED = "removed"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What is known of one version of one sender domain's secret, but for the secret.

    `id` is unique in the store, `number` counts the versions of the domain from 1. Times are
    milliseconds since 1970; `ends_ms` is when a stateless version stops being trusted.
    """

    id: int
    domain: str
    number: int
    kind: Literal["ledger", "stateless"]
    created_ms: int
    ends_ms: int | None = None
    revoked_ms: int | None = None
    removed_ms: int | None = None


def state_of(version: VersionFacts, active_id: int | None) -> State:
    """Return the state of a version, given the id of the one that issues for its domain."""
    if version.revoked_ms is not None:
        return State.REVOKED
    if version.removed_ms is not None:
        return State.REMOVED
    return State.ACTIVE if version.id == active_id else State.RETIRED


def removable(version: VersionFacts, needed_until_ms: int, now_ms: int) -> bool:
    """Whether a RETIRED version has done its work.

    `needed_until_ms` is when the last key issued under it expires, as the ledger knows it.
    """
    until_ms = needed_until_ms if version.ends_ms is None else version.ends_ms
    return now_ms >= until_ms


def rotation_due_ms(version: VersionFacts, period_ms: int, now_ms: int) -> int:
    """Return when an ACTIVE version is to be replaced: its age is `period_ms`, more or less 10 %.

    The jitter is computed from the version, so that it is the same whenever one asks, and
    thousands of domains that began together do not rotate together. A version from the future
    (the clock was wrong) counts from now.
    """
    name = f"{version.domain} {version.id}".encode()
    fraction = int.from_bytes(blake2b(name, digest_size=4).digest(), "big") / 2**32
    age_ms = int(period_ms * (1 - _JITTER + 2 * _JITTER * fraction))
    return min(version.created_ms, now_ms) + age_ms
