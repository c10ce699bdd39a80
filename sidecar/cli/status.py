"""`dialback-sidecar status`: how the daemon, its links and the key service are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sidecar.cli.api_client import client
from sidecar.cli.api_commands import json_option, token_option
from sidecar.cli.config_option import config_option
from sidecar.cli.key_service_status import (
    show_key_service,
    show_key_service_fields,
    show_warnings,
)
from sidecar.cli.tables import Column, show_json, show_table, show_text

_LINK_COLUMNS = (
    Column("link", "jid"),
    Column("is", "phase", whole=True),
    Column("since (UTC)", "since", whole=True),
    Column("in work", "in_work"),
)


@click.command()
@config_option
@token_option
@click.option(
    "--admin-socket",
    type=click.Path(path_type=Path),
    help="Ask the key service alone, over its own admin socket, while the daemon is down.",
)
@json_option
def status(
    config_path: Path, token_file: Path | None, admin_socket: Path | None, as_json: bool
) -> None:
    """Show how the daemon is, and its alarms.

    Example: dialback-sidecar status
    """
    if admin_socket is not None:
        show_key_service(admin_socket, as_json)
        return
    found = client(config_path, token_file).do("status", {})
    if as_json:
        show_json(found)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    ready = "ready"
    if not found["ready"]:
        down = any(link["phase"] != "connected" for link in found["links"])
        ready = "NOT READY: a link is down" if down else "NOT READY: see the warnings"
    click.echo(f"dialback-sidecar {found['version']}: {ready}\n")
    if found["links"]:
        show_table(_LINK_COLUMNS, found["links"])
    for link in found["links"]:
        if link["phase"] != "connected" and link["fault_text"]:
            show_text(" ", f"{link['jid']}: {link['fault_text']}")
    authority = found["authority"]
    if authority is not None:
        click.echo(f"  authority on {', '.join(authority['listens'])}")
        click.echo(f"  for {', '.join(authority['domains'])}: {_connections(authority)}")
    click.echo()
    show_key_service_fields(found["key_service"], history=_history(found["history"]))
    show_warnings(found["warnings"], found["key_service"]["alarms"])


def _history(history: dict[str, Any]) -> str:
    if not history["enabled"]:
        return "none is kept"
    count = history["handshakes"]
    return "cannot be read" if count is None else f"{count} handshakes"


def _connections(authority: dict[str, Any]) -> str:
    count = authority["connections"]
    return "1 connection" if count == 1 else f"{count} connections"
