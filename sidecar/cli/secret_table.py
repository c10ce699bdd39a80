"""How `secret list` shows the versions of secrets: fields for programs, 80 columns for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from msgspec.structs import asdict

from sidecar.cli.keyd_option import when
from sidecar.cli.tables import Column, show_json, show_table
from sidecar.keys.messages import ListedVersion

_COLUMNS = (
    Column("domain", "domain"),
    Column("no", "number", whole=True),
    Column("state", "state", whole=True),
    Column("uses", "uses", whole=True),
    Column("last (UTC)", "last", whole=True),
    Column("what next (UTC)", "next", whole=True),
)


def show_versions(versions: Sequence[ListedVersion], *, as_json: bool) -> None:
    """Print them. For people an imported version is `imported` as long as it is trusted."""
    if as_json:
        show_json([asdict(version) for version in versions])
    elif not versions:
        click.echo("no secrets yet: the first key of a domain makes one")
    else:
        show_table(_COLUMNS, [_row(version) for version in versions])


def _row(version: ListedVersion) -> dict[str, Any]:
    trusted = version.kind == "stateless" and version.state == "retired"
    return {
        "domain": version.domain,
        "number": version.number,
        "state": "imported" if trusted else version.state,
        "uses": version.uses,
        "last": _minute(version.last_use_ms),
        "next": _next(version),
    }


def _next(version: ListedVersion) -> str:
    for verb, ms in (
        ("rotates", version.next_rotation_ms),
        ("revoked", version.revoked_ms),
        ("removed", version.removed_ms),
        ("ends", version.ends_ms),
    ):
        if ms is not None:
            return f"{verb} {_minute(ms)}"
    return "goes with its last key"


def _minute(ms: int | None) -> str:
    """Without the year, which nobody needs here: 11-20 17:05."""
    return "-" if ms is None else when(ms)[5:16]
