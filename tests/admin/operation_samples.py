"""A request for each operation that an administrator can make on any daemon."""

from __future__ import annotations

from typing import Any

OURS, OTHER = "capulet.example", "verona.example"
PEER = "montague.example"
CHECK = {"sender": "montague.invalid", "target": OURS, "stream": "S1", "key": "b483"}
BODIES: dict[str, Any] = {
    "secrets-import": {"secret": "s3cr3t-of-prosody"},
    "peers-set": {"action": "deny", "reason": "spam"},
    "domains-set": {"max_entries": 100_000},
    "checks-run": CHECK,
    "probes-run": {"domain": "montague.invalid", "sender": OURS},
    "tokens-create": {"name": "ci", "scopes": ["status:read"]},
}
HEADERS: dict[str, dict[str, str]] = {}
"""Headers without which an operation is refused."""
FIELDS = {"domain": OURS, "id": "0123456789ab"}


def path_of(name: str, path: str) -> str:
    """A route's path with its fields filled in."""
    fields = dict(FIELDS, id="1") if name == "handshakes-show" else FIELDS
    return path.format(**fields)
