"""The commands that are made from operations: their words, what is an argument, what is shown.

What is in the registry and neither here nor in EXCEPTIONS fails a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.cli.tables import Column


@dataclass(frozen=True, slots=True)
class Words:
    """`arguments`: fields given without an option. `columns`: those of a list's table; without
    any, the answer is shown field by field, or `done` says with its fields that it is."""

    words: tuple[str, ...]
    example: str
    arguments: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    done: str = ""


COMMANDS: Mapping[str, Words] = {
    "domains-list": Words(
        ("domain", "list"),
        "dialback-sidecar domain list",
        columns=(
            Column("domain", "domain"),
            Column("version", "active_version"),
            Column("rotates", "rotate_every"),
            Column("next (UTC)", "next_rotation", whole=True),
            Column("its own", "own"),
        ),
    ),
    "domains-show": Words(
        ("domain", "show"), "dialback-sidecar domain show example.org", arguments=("domain",)
    ),
    "domains-set": Words(
        ("domain", "set"),
        "dialback-sidecar domain set example.org --rotate-every 12h",
        arguments=("domain",),
    ),
    "handshakes-list": Words(
        ("handshake", "list"),
        "dialback-sidecar handshake list --peer example.net --outcome error",
        columns=(
            Column("id", "id", whole=True),
            Column("began (UTC)", "started", whole=True),
            Column("", "direction", whole=True),
            Column("peer", "peer"),
            Column("outcome", "outcome", whole=True),
            Column("why", "reason"),
        ),
    ),
    "handshakes-show": Words(
        ("handshake", "show"), "dialback-sidecar handshake show 17", arguments=("id",)
    ),
    "peers-set": Words(
        ("peer", "set"),
        "dialback-sidecar peer set example.net --action deny --reason spam",
        arguments=("domain",),
    ),
    "peers-policy": Words(
        ("peer", "show"), "dialback-sidecar peer show example.net", arguments=("domain",)
    ),
    "peers-remove": Words(
        ("peer", "remove"),
        "dialback-sidecar peer remove example.net",
        arguments=("domain",),
        done="{domain}: rule removed",
    ),
    "peer-rules-list": Words(
        ("peer", "rules"),
        "dialback-sidecar peer rules",
        columns=(
            Column("domain", "domain"),
            Column("", "action", whole=True),
            Column("TLS", "require_encryption"),
            Column("evidence", "evidence"),
            Column("pins", "pins", count=True),
            Column("until", "expires", whole=True, day=True),
            Column("over", "expired"),
            Column("why", "reason"),
        ),
    ),
    "tokens-list": Words(
        ("token", "list"),
        "dialback-sidecar token list",
        columns=(
            Column("id", "id", whole=True),
            Column("name", "name"),
            Column("scopes", "scopes", whole=True),
            Column("domains", "domains"),
            Column("expires", "expires", whole=True, day=True),
            Column("revoked", "revoked", whole=True, day=True),
        ),
    ),
    "tokens-create": Words(
        ("token", "create"),
        "dialback-sidecar token create monitoring --scope status:read --days 365",
        arguments=("name",),
    ),
    "tokens-revoke": Words(
        ("token", "revoke"),
        "dialback-sidecar token revoke 0123456789ab",
        arguments=("id",),
        done="{id}: token revoked",
    ),
    "reload": Words(("reload",), "dialback-sidecar reload"),
}
GROUPS: Mapping[str, str] = {
    "domain": "Look at our domains, set how secrets rotate.",
    "handshake": "Look into the history of handshakes.",
    "peer": "Look at other servers, and decide about them.",
    "token": "Make and end tokens for the admin API.",
}
_SECRETS = "`secret` asks the key service itself, so that it works while the daemon is down"
EXCEPTIONS: Mapping[str, str] = {
    "status": "has a command of its own, with more than one table",
    "secrets-list": _SECRETS,
    "secrets-rotate": _SECRETS,
    "secrets-revoke": _SECRETS,
    "secrets-import": _SECRETS,
    "peers-show": "`peer show` tells what holds, whichever rule decides it",
    "peers-list": "`peer list` has a command of its own, which says what it means",
    "probes-run": "`probe` makes most probes itself, and prints a report",
    "keys-issue": "a key is for a stream, which a program has and nobody at a terminal",
    "keys-verify": "a key is for a stream, which a program has and nobody at a terminal",
    "checks-run": "`probe` tells more about a remote domain; a check needs a stream of a server",
}
