"""`--config FILE`, the same for every command that needs the configuration."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sidecar.config import Config, load
from sidecar.errors import ConfigError

DEFAULT_PATH = Path("/etc/dialback-sidecar/sidecar.toml")
EXIT_CONFIG = 2

config_option = click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=DEFAULT_PATH,
    envvar="DIALBACK_SIDECAR_CONFIG",
    show_default=True,
    help="The configuration file.",
)


def load_or_exit(path: Path) -> Config:
    """Return the configuration; print every problem in it and exit with status 2 otherwise."""
    try:
        return load(path)
    except ConfigError as error:
        click.echo(error, err=True)
        if not path.exists():
            click.echo("hint: name the file with --config or DIALBACK_SIDECAR_CONFIG", err=True)
        sys.exit(EXIT_CONFIG)
