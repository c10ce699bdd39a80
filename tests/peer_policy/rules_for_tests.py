"""Rules, made from what differs."""

from __future__ import annotations

from typing import Any

from sidecar.peer_policy import PeerPattern, PeerRule

NOW_MS = 1_700_000_000_000
SECOND_MS = 1000


def covers(pattern: str, domain: str) -> bool:
    """Whether a rule with this pattern is about `domain`, as the README says it."""
    below = pattern.startswith("*.") and domain.endswith(pattern[1:])
    return pattern in ("*", domain) or below


def rule(pattern: str, **more: Any) -> PeerRule:
    """A rule for `pattern`; `expires_in` is in milliseconds from NOW_MS."""
    expires_in = more.pop("expires_in", None)
    if expires_in is not None:
        more["expires_ms"] = NOW_MS + expires_in
    return PeerRule(
        pattern=PeerPattern.parse(pattern), changed_ms=NOW_MS, changed_by="0123456789ab", **more
    )
