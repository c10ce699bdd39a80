"""Where each operation is in HTTP. What is in the registry and not here fails a test."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

CREATED = 201


@dataclass(frozen=True, slots=True)
class Route:
    """Method, path and the status of success; 201 instead where a PUT creates (RFC 9110 §9.3.4).
    Fields of the input that the path does not name are the query of a GET or DELETE and the body
    of anything else."""

    method: str
    path: str
    status: int = 200

    @property
    def path_fields(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    @property
    def has_body(self) -> bool:
        return self.method in ("POST", "PUT", "PATCH")


ROUTES: Mapping[str, Route] = {
    "status": Route("GET", "/v1/status"),
    "domains-list": Route("GET", "/v1/domains"),
    "domains-show": Route("GET", "/v1/domains/{domain}"),
    "domains-set": Route("PATCH", "/v1/domains/{domain}"),
    "secrets-list": Route("GET", "/v1/domains/{domain}/secrets"),
    "secrets-rotate": Route("POST", "/v1/domains/{domain}/secrets/rotate"),
    "secrets-revoke": Route("POST", "/v1/domains/{domain}/secrets/revoke"),
    "secrets-import": Route("POST", "/v1/domains/{domain}/secrets/import"),
    "handshakes-list": Route("GET", "/v1/handshakes"),
    "handshakes-show": Route("GET", "/v1/handshakes/{id}"),
    "peers-list": Route("GET", "/v1/peers"),
    "peers-set": Route("PUT", "/v1/peers/{domain}"),
    "peers-show": Route("GET", "/v1/peers/{domain}"),
    "peers-policy": Route("GET", "/v1/peers/{domain}/policy"),
    "peers-remove": Route("DELETE", "/v1/peers/{domain}"),
    "peer-rules-list": Route("GET", "/v1/peer-rules"),
    "keys-issue": Route("POST", "/v1/keys/issue"),
    "keys-verify": Route("POST", "/v1/keys/verify"),
    "checks-run": Route("POST", "/v1/checks"),
    "probes-run": Route("POST", "/v1/probes"),
    "tokens-list": Route("GET", "/v1/tokens"),
    "tokens-create": Route("POST", "/v1/tokens", CREATED),
    "tokens-revoke": Route("DELETE", "/v1/tokens/{id}"),
    "reload": Route("POST", "/v1/reload"),
}
EVENTS_PATH = "/v1/events"
EXCEPTIONS: Mapping[str, str] = {}
"""Operations that HTTP does not have, each with the reason."""
