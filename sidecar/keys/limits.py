"""The numbers the ledger lives by: times of a key and how many keys there may be."""

from __future__ import annotations

from dataclasses import dataclass

SEGMENT_MS = 60_000
"""Ledger entries are kept, and forgotten, in segments of one minute of issuing."""

MAX_LIFETIME_MS = 4 * 3_600_000
"""An entry of the ledger has no bits for later times (`sidecar.keys.entry`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times in milliseconds, caps in live entries."""

    lifetime_ms: int = 120_000
    """How long an issued key can be verified."""
    repeat_ms: int = 60_000
    """How long after the first right verify a repeat gets the same answer."""
    memory_ms: int = 3_600_000
    """How long an expired key is told apart from one that was never issued, room permitting."""
    entries: int = 1_000_000
    entries_per_sender: int = 500_000
    entries_per_zone: int = 100_000
    """A zone is the last two labels of the target domain: made-up subdomains share one cap."""
    domains: int = 100_000
    """Sender domains that may have a secret."""
