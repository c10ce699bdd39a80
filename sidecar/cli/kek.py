"""`dialback-sidecar kek ...`: the key that the secrets are sealed under at rest."""

from __future__ import annotations

from pathlib import Path

import click

from sidecar.cli.keyd_option import admin_socket_option, ask_or_exit, json_option
from sidecar.cli.tables import show_json
from sidecar.keys.messages import Done, RotateKek


@click.group()
def kek() -> None:
    """The key-encryption key of the secret store."""


@kek.command("rotate")
@admin_socket_option
@json_option
def rotate(admin_socket: Path, as_json: bool) -> None:
    """Seal every secret under a new key, while serving. `status` tells when it is done.

    Example: dialback-sidecar kek rotate
    """
    ask_or_exit(admin_socket, RotateKek(), Done)
    if as_json:
        show_json({"rewrapping": True})
    else:
        click.echo("under way; `dialback-sidecar status` tells when it is done (rewrapping: no)")
