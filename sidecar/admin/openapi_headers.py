"""Headers in the contract: repeat keys and entity tags."""

from __future__ import annotations

from typing import Any

from sidecar.admin.entity_tags import PATTERN
from sidecar.admin.routes import Route
from sidecar.operations.operation import AnyOperation

Json = dict[str, Any]


def request_headers(operation: AnyOperation, route: Route) -> list[Json]:
    """Return the parameters of an operation that are headers."""
    headers = []
    if operation.once:
        about = "The same key again does nothing again, for a day."
        headers.append(_header("Idempotency-Key", about, "^[!-~]{1,200}$"))
    if operation.conditional:
        about = "Change it only if this is its entity tag. Without it the last writer wins."
        headers.append(_header("If-Match", about, PATTERN))
        if route.method == "PUT":
            about = "`*`: only if there is none yet."
            headers.append(_header("If-None-Match", about, PATTERN))
    elif operation.tagged and not operation.acts:
        headers.append(_header("If-None-Match", "The entity tag that is known.", PATTERN))
        headers.append(_header("If-Match", "Answer only if this is its entity tag.", PATTERN))
    return headers


def condition_codes(operation: AnyOperation) -> list[str]:
    """Return the codes of problems with conditions."""
    return ["precondition-failed"] if operation.conditional or operation.tagged else []


def not_modified(operation: AnyOperation) -> Json:
    """Return the answer to those who have the resource already, if there is one."""
    if operation.acts or not operation.tagged:
        return {}
    return {"304": {"description": "it is what is known", "headers": _ETAG}}


def answer_headers(operation: AnyOperation) -> Json:
    """Return the part of a good answer that says which headers it has."""
    return {"headers": _ETAG} if operation.tagged else {}


_ETAG: Json = {
    "ETag": {
        "description": "Its entity tag, which is `etag` in quotes.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[!#-~]+"$'},
    }
}


def _header(name: str, description: str, pattern: str) -> Json:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "description": description, "schema": schema}
