"""Every operation, by name."""

from __future__ import annotations

from collections.abc import Mapping

from sidecar.operations import (
    checks,
    dialback_needs,
    domains,
    handshakes,
    keys,
    peer_rules,
    probes,
    reload,
    secrets,
    status,
    tokens,
)
from sidecar.operations.operation import AnyOperation

REGISTRY: Mapping[str, AnyOperation] = {
    operation.name: operation
    for module in (
        status,
        domains,
        secrets,
        handshakes,
        dialback_needs,
        peer_rules,
        keys,
        checks,
        tokens,
        probes,
        reload,
    )
    for operation in module.OPERATIONS
}
