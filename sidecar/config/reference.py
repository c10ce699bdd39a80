"""The configuration reference of the README, made from the config types."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec

from sidecar.config.link_domains import LinkDomains
from sidecar.config.load import description, keys, struct_of
from sidecar.config.types import Config
from sidecar.durations import Duration
from sidecar.names import Domain


def reference() -> str:
    """Return the Markdown tables of every key: its type, default and meaning."""
    lines: list[str] = []
    for heading, struct in _tables():
        lines += [f"**{heading}**", "", "| key | type | default | meaning |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in _rows(struct)]
        lines.append("")
    return "\n".join(lines)


def _tables() -> Iterator[tuple[str, type[msgspec.Struct]]]:
    yield "Top of the file", Config
    for name, hint in keys(Config).items():
        struct = struct_of(hint)
        if struct is not None:
            yield f"`[[{name}]]`" if _is_tuple(hint) else f"`[{name}]`", struct


def _rows(struct: type[msgspec.Struct]) -> Iterator[tuple[str, str, str, str]]:
    defaults = {field.name: field for field in msgspec.structs.fields(struct)}
    for name, hint in keys(struct).items():
        if struct_of(hint) is None:
            field = defaults[name]
            default = "required" if field.required else _toml(field.default)
            yield f"`{name}`", _type_name(hint), default, description(hint) or ""


def _is_tuple(hint: Any) -> bool:
    return get_origin(_plain(hint)) is tuple


def _plain(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _type_name(hint: Any) -> str:
    plain = _plain(hint)
    names: dict[Any, str] = {
        bool: "true or false",
        int: "number",
        float: "number",
        str: "text",
        Domain: "domain",
        Duration: "time",
        LinkDomains: "list of texts",
        LinkDomains | None: "list of texts",
        Path: "path",
        Path | None: "path",
        tuple[str, ...]: "list of texts",
        tuple[Domain, ...]: "list of domains",
    }
    if plain in names:
        return names[plain]
    if get_origin(plain) is tuple:
        return f"list of {_choices(get_args(plain)[0])}"
    return _choices(plain)


def _choices(literal: Any) -> str:
    return " ".join(f"`{choice}`" for choice in get_args(literal))


def _toml(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case int() | float():
            return f"`{value}`"
        case tuple():
            return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
        case _:
            return f'`"{value}"`'
