"""The OpenAPI document is valid, and the daemon does what it says."""

from __future__ import annotations

from openapi_spec_validator import validate

from sidecar.admin.openapi import document
from sidecar.admin.routes import ROUTES


def test_document_is_valid_openapi() -> None:
    validate(document())


def test_document_has_every_route_with_its_problems() -> None:
    paths = document()["paths"]
    for route in ROUTES.values():
        described = paths[route.path][route.method.lower()]
        assert {str(route.status), "400", "401", "403", "503"} <= set(described["responses"])
        assert described["summary"]


def test_what_may_be_created_says_so() -> None:
    answers = document()["paths"]["/v1/peers/{domain}"]["put"]["responses"]
    assert answers["201"]["content"] == answers["200"]["content"]
    assert answers["201"]["headers"] == answers["200"]["headers"]


def test_path_fields_are_not_in_the_body() -> None:
    rotate = document()["paths"]["/v1/domains/{domain}/secrets/rotate"]["post"]
    body = rotate["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"dry_run"}
    assert not rotate["requestBody"]["required"]
