"""When a condition holds: every row of RFC 9110 §13.1.1 and §13.1.2."""

from __future__ import annotations

import msgspec
import pytest

from sidecar.preconditions import NO_PRECONDITION, Precondition, entity_tag


@pytest.mark.parametrize(
    ("condition", "absent", "tag_a", "tag_b"),
    [
        (NO_PRECONDITION, True, True, True),
        (Precondition(match=("a",)), False, True, False),
        (Precondition(match=("b", "a")), False, True, True),
        (Precondition(match=("*",)), False, True, True),
        (Precondition(match=()), False, False, False),
        (Precondition(none_match=("a",)), True, False, True),
        (Precondition(none_match=("*",)), True, False, False),
        (Precondition(match=("a",), none_match=("a",)), False, False, False),
    ],
)
def test_condition_holds_for_a_resource_that_is_absent_or_has_a_tag(
    condition: Precondition, absent: bool, tag_a: bool, tag_b: bool
) -> None:
    assert [condition.holds(tag) for tag in (None, "a", "b")] == [absent, tag_a, tag_b]


def test_condition_crosses_the_socket_of_the_key_service() -> None:
    condition = Precondition(("a",), ("*",))
    encoded = msgspec.msgpack.encode(condition)
    assert msgspec.msgpack.decode(encoded, type=Precondition) == condition


def test_tag_is_the_same_for_the_same_content_only() -> None:
    assert entity_tag(["a", 1]) == entity_tag(("a", 1)) != entity_tag(["a", 2])
    assert entity_tag({"a": None}).isalnum()
