"""The contract, OpenAPI 3.1, made from the registry and the routes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

import sidecar
from sidecar.admin.openapi_headers import (
    Json,
    answer_headers,
    condition_codes,
    not_modified,
    request_headers,
)
from sidecar.admin.problems import CONTENT_TYPE, PROBLEMS
from sidecar.admin.routes import CREATED, EVENTS_PATH, ROUTES, Route
from sidecar.keys.scopes import Scope
from sidecar.operations import REGISTRY
from sidecar.operations.fields import describe_own
from sidecar.operations.operation import AnyOperation

_TOKEN_CODES = (
    *("token-missing", "token-unknown", "token-expired", "token-revoked"),
    *("scope-missing", "domain-not-permitted"),
)
_FRAME_CODES = (
    *("host-not-allowed", "origin-not-allowed"),
    *("key-service-unavailable", "too-many-connections"),
)
_BODY_CODES = (
    *("malformed-json", "malformed-request", "request-too-slow"),
    *("unsupported-media-type", "body-too-large"),
)
_OPEN_PATHS: Mapping[str, tuple[str, str, str]] = {
    "/healthz": ("alive", "Whether the process runs", "application/json"),
    "/readyz": ("ready", "Whether handshakes are being answered", "application/json"),
    "/openapi.json": ("contract", "This document", "application/json"),
}


def document() -> Json:
    """Return the whole document."""
    types = sorted(
        {type_ for name in ROUTES for type_ in (REGISTRY[name].input, REGISTRY[name].output)},
        key=lambda type_: type_.__name__,
    )
    _, schemas = msgspec.json.schema_components(
        types, schema_hook=describe_own, ref_template="#/components/schemas/{name}"
    )
    paths: Json = {}
    for name, route in ROUTES.items():
        operation = REGISTRY[name]
        schema = schemas[operation.input.__name__]
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(
            operation, route, schema
        )
    for path, (name, summary, content_type) in _OPEN_PATHS.items():
        paths[path] = {"get": _open(name, summary, content_type, path)}
    paths["/metrics"] = {"get": _metrics()}
    paths[EVENTS_PATH] = {"get": _events()}
    outputs = {
        name: schema
        for name, schema in schemas.items()
        if name not in {REGISTRY[each].input.__name__ for each in ROUTES}
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dialback-sidecar",
            "version": sidecar.__version__,
            "description": "Admin API of dialback-sidecar. Every error is a problem document "
            "(RFC 9457) with a stable `code`.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**outputs, "Problem": _PROBLEM},
        },
    }


def _operation(operation: AnyOperation, route: Route, schema: Json) -> Json:
    properties: Json = schema.get("properties", {})
    required = schema.get("required", [])
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _plain(properties[name])}
        for name in route.path_fields
    ]
    rest = {name: value for name, value in properties.items() if name not in route.path_fields}
    done = {"content": _json_content(_ref(operation.output.__name__)), **answer_headers(operation)}
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": _description(operation),
        "parameters": parameters,
        "responses": {
            str(route.status): {"description": "done", **done},
            **({str(CREATED): {"description": "created", **done}} if operation.creates else {}),
            **not_modified(operation),
            **_problems(_codes(operation, route)),
        },
    }
    if route.has_body:
        needed = [name for name in required if name in rest]
        body: Json = {"type": "object", "properties": rest, "additionalProperties": False}
        if needed:
            body["required"] = needed
        described["requestBody"] = {"required": bool(needed), "content": _json_content(body)}
    else:
        parameters += [
            {"name": name, "in": "query", "required": name in required, "schema": _plain(value)}
            for name, value in rest.items()
        ]
    parameters += request_headers(operation, route)
    return described


def _codes(operation: AnyOperation, route: Route) -> list[str]:
    codes = ["invalid-input", *_TOKEN_CODES, *_FRAME_CODES, *operation.refusals]
    codes += condition_codes(operation)
    return codes + list(_BODY_CODES) if route.has_body else codes


def _description(operation: AnyOperation) -> str:
    return f"{operation.description} Needs the scope `{operation.scope.value}`.".strip()


def _problems(codes: list[str]) -> Json:
    """Responses by status, each with the codes it can have."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(PROBLEMS[code][0], []).append(code)
    return {
        str(status): {
            "description": ", ".join(f"`{code}`" for code in sorted(set(found))),
            "content": {CONTENT_TYPE: {"schema": _ref("Problem")}},
        }
        for status, found in sorted(by_status.items())
    }


def _open(name: str, summary: str, content_type: str, path: str) -> Json:
    content = {content_type: {"schema": {"type": "object"}}}
    responses: Json = {"200": {"description": "yes", "content": content}}
    if path == "/readyz":
        responses["503"] = {"description": "no", "content": content}
    responses |= _problems(["host-not-allowed"])
    return {"operationId": name, "summary": summary, "security": [], "responses": responses}


def _metrics() -> Json:
    return {
        "operationId": "metrics",
        "summary": "Metrics for Prometheus",
        "description": "Needs no token on the machine itself, elsewhere the scope "
        f"`{Scope.METRICS_READ.value}`; a token for some domains sees only theirs.",
        "security": [{}, {"token": []}],
        "responses": {
            "200": {
                "description": "the exposition",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            **_problems([*_TOKEN_CODES, *_FRAME_CODES]),
        },
    }


def _events() -> Json:
    return {
        "operationId": "events",
        "summary": "Handshakes, links, secrets and alarms as they happen",
        "description": "Server-Sent Events: `handshake`, `link`, `secret`, `domain`, `policy`, "
        "`alarm`, `gap` (events were missed), `end`. "
        f"Needs the scope `{Scope.HANDSHAKES_READ.value}`.",
        "parameters": [
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "the last event that was seen",
                "schema": {"type": "string"},
            }
        ],
        "responses": {
            "200": {
                "description": "a stream that does not end",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            **_problems([*_TOKEN_CODES, *_FRAME_CODES, "too-many-streams"]),
        },
    }


def _plain(schema: Json) -> Json:
    """The schema of a parameter: one that is left out, not null."""
    schema = {key: value for key, value in schema.items() if key != "default" or value is not None}
    choices = schema.pop("anyOf", None)
    if choices is not None:
        (only,) = [choice for choice in choices if choice != {"type": "null"}]
        schema |= only
    return schema


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json_content(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


_PROBLEM: Json = {
    "title": "Problem",
    "description": "RFC 9457",
    "type": "object",
    "required": ["type", "code", "title", "status", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "code": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string", "description": "what of the input is wrong"},
        "request_id": {"type": "string"},
    },
}
