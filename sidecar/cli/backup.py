"""`dialback-sidecar backup FILE`: a consistent copy of the secret store."""

from __future__ import annotations

from pathlib import Path

import click

from sidecar.cli.keyd_option import admin_socket_option, ask_or_exit, json_option
from sidecar.cli.tables import show_json
from sidecar.keys.messages import Backup, Done


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@admin_socket_option
@json_option
def backup(file: Path, admin_socket: Path, as_json: bool) -> None:
    """Copy the secret store, still sealed, to FILE.

    The key service writes it. It opens with the key-encryption key only: keep that elsewhere.
    `dialback-keyd --restore FILE` puts it in place of a store that is lost.

    Example: dialback-sidecar backup /var/backups/dialback-keys
    """
    path = file.absolute()
    ask_or_exit(admin_socket, Backup(str(path)), Done, about=path)
    if as_json:
        show_json({"file": str(path)})
    else:
        click.echo(f"wrote {file}")
