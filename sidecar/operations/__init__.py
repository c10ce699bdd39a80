"""What operators can do: one registry, from which every front end is made."""

from sidecar.operations.caller import Call, Caller
from sidecar.operations.operation import Operation
from sidecar.operations.parts import Parts
from sidecar.operations.refusals import REFUSALS, Refusal, RefusalKind
from sidecar.operations.registry import REGISTRY

__all__ = [
    "REFUSALS",
    "REGISTRY",
    "Call",
    "Caller",
    "Operation",
    "Parts",
    "Refusal",
    "RefusalKind",
]
