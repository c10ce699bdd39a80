"""A request for each operation that an administrator can make on any daemon, and that is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from daemon_process import Answer, Daemon

from sidecar.admin.routes import ROUTES

OURS, OTHER = "capulet.example", "verona.example"
PEER = "montague.example"
CHECK = {"sender": "montague.invalid", "target": OURS, "stream": "S1", "key": "b483"}
BODIES: dict[str, Any] = {
    "secrets-import": {"secret": "s3cr3t-of-prosody"},
    "peers-set": {"action": "deny", "reason": "spam"},
    "domains-set": {"max_entries": 100_000},
    "keys-issue": {"sender": OURS, "target": PEER, "stream": "S1"},
    "keys-verify": {"sender": OURS, "target": PEER, "stream": "S1", "key": "b483"},
    "checks-run": CHECK,
    "probes-run": {"domain": "montague.invalid", "sender": OURS},
    "tokens-create": {"name": "ci", "scopes": ["tokens:write"]},
}
HEADERS: dict[str, dict[str, str]] = {}
"""Headers without which an operation is refused."""


@dataclass(frozen=True)
class Sample:
    """A request. `fields` are those of its path."""

    method: str
    path: str
    fields: dict[str, str]
    headers: dict[str, str]
    body: Any = None

    async def ask(self, daemon: Daemon, token: str | None = None) -> Answer:
        return await daemon.ask(
            self.method,
            self.path.format(**self.fields),
            token,
            headers=self.headers,
            json=self.body,
        )


async def good_request(daemon: Daemon, name: str) -> Sample:
    """A request that an administrator sees done; what has to be there for it is made."""
    fields = {"domain": OURS}
    if name.startswith("peer"):
        fields["domain"] = PEER
    if name in ("peers-show", "peers-remove"):
        await (await good_request(daemon, "peers-set")).ask(daemon)
    if name == "handshakes-show":
        fields["id"] = await _handshake(daemon)
    if name == "tokens-revoke":
        fields["id"] = await _token(daemon)
    route = ROUTES[name]
    used = {field: fields[field] for field in route.path_fields}
    return Sample(route.method, route.path, used, HEADERS.get(name, {}), BODIES.get(name))


async def _handshake(daemon: Daemon) -> str:
    await daemon.ask("POST", "/v1/checks", json=CHECK)
    listed = await daemon.ask("GET", "/v1/handshakes?limit=1")
    return str(listed.content["items"][0]["id"])


async def _token(daemon: Daemon) -> str:
    """The id of a token that opens as little as can be."""
    made = await daemon.ask("POST", "/v1/tokens", json=BODIES["tokens-create"])
    return str(made.content["facts"]["id"])
