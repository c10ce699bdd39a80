"""What does not fit is told in words of ours: the field, and what is expected there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from daemon_process import Daemon
from operation_samples import CHECK, OURS

from sidecar.admin.openapi import document
from sidecar.operations import REGISTRY
from sidecar.operations.fields import describe_own
from sidecar.operations.patterns import IN_WORDS

PEER = "/v1/peers/example.net"
RULE = {"pins": ["5e"]}
ACTIONS = "expected one of allow, deny, got 'maybe'"
LONG = "x" * 201


@pytest.mark.parametrize(
    ("method", "path", "body", "field", "words"),
    [
        ("POST", "/v1/checks", {**CHECK, "key": ""}, "key", "1 to 256 visible ASCII characters"),
        ("PUT", PEER, RULE, "pins[0]", "expected 64 hex digits"),
        ("PUT", PEER, {"action": "maybe"}, "action", ACTIONS),
        ("PUT", PEER, {"evidence": ["oath"]}, "evidence[0]", "one of certificate, key, same"),
        ("PUT", PEER, {"evidence": []}, "evidence", "expected at least 1 item"),
        ("PUT", PEER, {"evidence": 7}, "evidence", "expected a list, got a whole number"),
        ("PUT", PEER, {"reason": LONG}, "reason", "expected at most 200 characters"),
        ("PUT", PEER, {"require_encryption": "yes"}, "require_encryption", "true or false"),
        ("PUT", PEER, {"expires": "soon"}, "expires", "a time such as 2026-11-20T17:00:00Z"),
        ("PUT", PEER, {"colour": 1}, "colour", "there is no such field here"),
        ("POST", "/v1/tokens", {"name": "x"}, "scopes", "is needed"),
        ("POST", "/v1/tokens", {"name": "\n", "scopes": []}, "name", "printable ASCII"),
        ("DELETE", "/v1/tokens/x-y", None, "id", "the id of a token, 1 to 32 hex digits"),
        ("GET", "/v1/handshakes?cursor=x", None, "cursor", "`next` of the page before"),
        ("GET", "/v1/handshakes?limit=0", None, "limit", "a whole number of at least 1"),
        ("GET", "/v1/handshakes?limit=501", None, "limit", "a whole number of at most 500"),
        ("GET", "/v1/handshakes?limit=x", None, "limit", "a whole number, got a text"),
        ("GET", f"/v1/handshakes/{10**30}", None, "id", "expected a "),
        ("PATCH", f"/v1/domains/{OURS}", {"rotate_every": "x"}, "rotate_every", "30m, 12h or 7d"),
        ("PATCH", f"/v1/domains/{OURS}", {"max_entries": "x"}, "max_entries", "a whole number"),
    ],
)
async def test_fault_is_told_in_words(
    shared_daemon: Daemon, method: str, path: str, body: Any, field: str, words: str
) -> None:
    answer = await shared_daemon.ask(method, path, json=body)
    assert (answer.status, answer.content["code"]) == (400, "invalid-input"), answer
    assert answer.content["field"] == field
    assert words in answer.content["detail"]
    for foreign in ("regex", "enum", "Object", "object contains", "str", "RFC3339", "array"):
        assert foreign not in answer.content["detail"]


def _patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        schema = list(schema.values())
    if isinstance(schema, list):
        for each in schema:
            yield from _patterns(each)


def test_every_pattern_of_an_input_is_in_words() -> None:
    inputs = [operation.input for operation in REGISTRY.values()]
    _, parts = msgspec.json.schema_components(inputs, schema_hook=describe_own)
    found = set(_patterns(parts))
    assert found == set(IN_WORDS)
    assert found <= set(_patterns(document()))
