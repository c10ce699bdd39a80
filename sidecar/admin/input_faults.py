"""Why an input does not fit: the field, and what is expected there, in words of ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from sidecar.operations.fields import Input, describe_own
from sidecar.operations.patterns import IN_WORDS

_TYPES = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "datetime": "a time",
    "null": "null",
}
_TIME = "a time such as 2026-11-20T17:00:00Z"


def fault_in_words(message: str, input_type: type[Input]) -> tuple[str, str]:
    """Return the field that msgspec's `message` is about, and what is wrong with it."""
    message, _, place = message.partition(" - at `$")
    field = place.strip(".`")
    named = re.fullmatch(r"Object (contains unknown|missing required) field `(.*)`", message)
    if named is not None:
        field = f"{field}.{named[2]}".lstrip(".")
        is_missing = "missing" in named[1]
        return field, "this field is needed" if is_missing else "there is no such field here"
    if message.startswith("Invalid enum value "):
        given = message.removeprefix("Invalid enum value ")
        return field, f"expected {_choices(input_type, field)}, got {given}"
    for pattern, words in _FAULTS:
        found = re.fullmatch(pattern, message)
        if found is not None:
            return field, words(found)
    return field, message[:1].lower() + message[1:].replace("`", "")


def _choices(input_type: type[Input], field: str) -> str:
    (schema,), parts = msgspec.json.schema_components([input_type], schema_hook=describe_own)
    fields = parts[schema["$ref"].rpartition("/")[2]]["properties"]
    name = re.split(r"[.\[]", field)[0]
    return "one of " + ", ".join(map(str, dict.fromkeys(_enums(fields.get(name, {})))))


def _enums(schema: Any) -> Iterator[Any]:
    if isinstance(schema, dict):
        yield from schema.get("enum", ())
        schema = list(schema.values())
    if isinstance(schema, list):
        for each in schema:
            yield from _enums(each)


def _kinds(names: str) -> str:
    return " or ".join(_TYPES.get(name, name) for name in names.split(" | ") if name != "null")


def _bounds(found: re.Match[str]) -> str:
    kind, bound, number = found.groups()
    how = "at least" if bound == ">=" else "at most"
    if kind == "int":
        return f"expected a whole number of {how} {number}"
    noun = "item" if kind == "array" else "character"
    return f"expected {how} {number} {noun}{'s' * (number != '1')}"


_FAULTS: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"Expected `str` matching regex '(.*)'", lambda found: f"expected {IN_WORDS[found[1]]}"),
    (r"Expected `(str|array)` of length (>=|<=) (\d+)", _bounds),
    (r"Expected `(int)` (>=|<=) (-?\d+)", _bounds),
    (
        r"Expected `([a-z |]+)`, got `([a-z]+)`",
        lambda found: f"expected {_kinds(found[1])}, got {_TYPES.get(found[2], found[2])}",
    ),
    (r"Invalid RFC3339 encoded datetime", lambda _: f"expected {_TIME}"),
    (r"Integer value out of range", lambda _: "expected a smaller number"),
)
