"""`dialback-sidecar peer list`: which peers need dialback, and what would break without it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from sidecar.cli.api_client import client
from sidecar.cli.api_commands import json_option, token_option
from sidecar.cli.config_option import config_option
from sidecar.cli.tables import show_json

_ROW = "  {:<3}  {:<16}  {:<20}  {:>6}  {:>6}  {:<10}"
_DIRECTIONS = {"incoming": "in", "outgoing": "out"}


@click.command("list")
@click.option("--needing-dialback", is_flag=True, help="Only peers that need dialback.")
@click.option("--after", help="`next` of the page before.")
@click.option(
    "--limit",
    type=click.IntRange(1, 500),
    default=50,
    show_default=True,
    help="Peers on one page at most.",
)
@config_option
@token_option
@json_option
def peer_list(
    needing_dialback: bool,
    after: str | None,
    limit: int,
    config_path: Path,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """List the peers in the history, each direction on a line of its own.

    One that needs dialback got through by it when it last did: the column says why SASL EXTERNAL
    did not do, as a flaw of its certificate or one of external-refused (tried, and refused),
    external-not-offered (by the receiving side) and external-unused (its certificate would do).

    Example: dialback-sidecar peer list --needing-dialback
    """
    fields: dict[str, Any] = {"limit": limit}
    if needing_dialback:
        fields["needing_dialback"] = "true"
    if after:
        fields["after"] = after
    content = client(config_path, token_file).do("peers-list", fields)
    if as_json:
        show_json(content)
        return
    if content["items"]:
        click.echo(_ROW.format("", "last by", "needs dialback", "ok", "failed", "last"))
    for peer, items in groupby(content["items"], lambda item: item["peer"]):
        click.echo(click.style(peer, bold=True))
        for item in items:
            _show(item)
    click.echo()
    click.echo(content["summary"])
    if content["next"]:
        click.echo(f"more: --after {content['next']}")


def _show(item: Mapping[str, Any]) -> None:
    by = item["evidence"] if item["mechanism"] == "dialback" else item["mechanism"]
    through, failed = item["by_dialback"] + item["by_external"], item["invalid"] + item["error"]
    direction = _DIRECTIONS[item["direction"]]
    click.echo(_ROW.format(direction, by or "-", _needs(item), through, failed, item["last"][:10]))
    if item["pairs"] and item["mechanism"] != "dialback":
        domains = ", ".join(pair["domain"] for pair in item["pairs"])
        click.echo(f"       by dialback with {domains}")
    if item["last_failure"] and item["last_failure"] > (item["last_success"] or ""):
        at = item["last_failure"][:16].replace("T", " ")
        click.echo(f"       failed last at {at}: {item['failure']}")


def _needs(item: Mapping[str, Any]) -> str:
    if item["needs_dialback"] is None:
        return "-"
    if not item["needs_dialback"]:
        return "no"
    why = [pair["because"] for pair in item["pairs"] if pair["because"]]
    return why[0].removeprefix("certificate-") if why else "yes"
