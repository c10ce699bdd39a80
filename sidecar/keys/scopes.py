"""What an API token lets its bearer do, and what keyd wants to see for each request."""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Scope(enum.Enum):
    """One permission. `admin` is all of them; only the key service's admin socket gives it out."""

    STATUS_READ = "status:read"
    HANDSHAKES_READ = "handshakes:read"
    SECRETS_READ = "secrets:read"
    SECRETS_WRITE = "secrets:write"
    DOMAINS_WRITE = "domains:write"
    PEERS_READ = "peers:read"
    PEERS_WRITE = "peers:write"
    KEYS_ISSUE = "keys:issue"
    KEYS_VERIFY = "keys:verify"
    CHECKS_RUN = "checks:run"
    PROBES_RUN = "probes:run"
    CONFIG_WRITE = "config:write"
    TOKENS_WRITE = "tokens:write"
    METRICS_READ = "metrics:read"
    ADMIN = "admin"


ALL_SCOPES = tuple(scope.value for scope in Scope)


def allows(scopes: Iterable[str], needed: Scope) -> bool:
    """Whether someone with these scopes may do what needs `needed`."""
    return any(scope in (needed.value, Scope.ADMIN.value) for scope in scopes)
