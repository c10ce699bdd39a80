"""`secret list`: what the API answers, for programs; a table of 80 columns for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from sidecar.cli.tables import Column, show_json, show_table
from sidecar.keys.messages import ListedVersion
from sidecar.operations.secrets import Version, by_domain

_COLUMNS = (
    Column("domain", "domain"),
    Column("no", "number", whole=True),
    Column("state", "state", whole=True),
    Column("uses", "uses", whole=True),
    Column("last (UTC)", "last", whole=True),
    Column("what next (UTC)", "next", whole=True),
)


def show_versions(listed: Sequence[ListedVersion], *, as_json: bool) -> None:
    """Print them, domain by domain. For people an imported version is `imported` as long as it is
    trusted."""
    domains = by_domain(listed)
    if as_json:
        show_json({"items": domains})
    elif not domains:
        click.echo("no secrets yet: the first key of a domain makes one")
    else:
        rows = [_row(each.domain, version) for each in domains for version in each.versions]
        show_table(_COLUMNS, rows)


def _row(domain: str, version: Version) -> dict[str, Any]:
    trusted = version.kind == "stateless" and version.state == "retired"
    return {
        "domain": domain,
        "number": version.number,
        "state": "imported" if trusted else version.state,
        "uses": version.uses,
        "last": _minute(version.last_use),
        "next": _next(version),
    }


def _next(version: Version) -> str:
    for verb, time in (
        ("rotates", version.next_rotation),
        ("revoked", version.revoked),
        ("removed", version.removed),
        ("ends", version.ends),
    ):
        if time is not None:
            return f"{verb} {_minute(time)}"
    return "goes with its last key"


def _minute(time: datetime | None) -> str:
    """Without the year, which nobody needs here: 11-20 17:05."""
    return "-" if time is None else f"{time:%m-%d %H:%M}"
