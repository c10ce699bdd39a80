"""Conditions in HTTP headers, and what they mean for a GET."""

from __future__ import annotations

import re

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from sidecar.admin.entity_tags import PATTERN, answers_condition, read_precondition
from sidecar.admin.routes import ROUTES
from sidecar.operations import REGISTRY, Refusal
from sidecar.operations.fields import Resource
from sidecar.preconditions import NO_PRECONDITION, Precondition


def read(*headers: tuple[str, str]) -> Precondition:
    return read_precondition(make_mocked_request("GET", "/", headers=CIMultiDict(headers)))


@pytest.mark.parametrize(
    ("value", "match", "none_match"),
    [
        ('"a"', ("a",), ("a",)),
        ('"a", "b"', ("a", "b"), ("a", "b")),
        ('"a",W/"b"', ("a",), ("a", "b")),
        ('W/"a"', (), ("a",)),
        ('"a,b"', ("a,b",), ("a,b",)),
        ('"", W/"", "a"', ("a",), ("a",)),
        ("*", ("*",), ("*",)),
    ],
)
def test_condition_is_read(value: str, match: tuple[str, ...], none_match: tuple[str, ...]) -> None:
    assert read(("If-Match", value)) == Precondition(match=match)
    assert read(("If-None-Match", value)) == Precondition(none_match=none_match)


def test_condition_may_be_spread_over_headers() -> None:
    assert read(("If-Match", '"a"'), ("If-Match", '"b"')) == Precondition(match=("a", "b"))
    assert read() == NO_PRECONDITION


@pytest.mark.parametrize("value", ["", "a", '"a', '"a" "b"', '"a", *', 'w/"a"', '"\x7f"', '"a"\n'])
def test_what_is_no_condition_is_refused(value: str) -> None:
    for header in ("If-Match", "If-None-Match"):
        with pytest.raises(Refusal) as caught:
            read((header, value))
        assert (caught.value.code, caught.value.more) == ("invalid-input", {"field": header})


def test_endless_list_is_refused() -> None:
    with pytest.raises(Refusal):
        read(("If-Match", ", ".join(['"a"'] * 17)))
    assert re.match(PATTERN, ", ".join(['"a"'] * 16))


def test_what_the_client_knows_is_not_sent_again() -> None:
    resource = Resource(etag="a")
    assert answers_condition(NO_PRECONDITION, resource)
    assert answers_condition(Precondition(match=("a",), none_match=("b",)), resource)
    assert not answers_condition(Precondition(none_match=("a",)), resource)
    with pytest.raises(Refusal) as caught:
        answers_condition(Precondition(match=("b",), none_match=("a",)), resource)
    assert caught.value.code == "precondition-failed"


def test_what_replaces_a_resource_takes_a_condition() -> None:
    for name, route in ROUTES.items():
        if route.method in ("PUT", "PATCH"):
            assert REGISTRY[name].conditional and REGISTRY[name].tagged, name
