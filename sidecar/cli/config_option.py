"""`--config FILE`, the same for every command that needs the configuration."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from sidecar.config import Config, load
from sidecar.errors import ConfigError

DEFAULT_PATH = Path("/etc/dialback-sidecar/sidecar.toml")
CONFIG_VARIABLE = "DIALBACK_SIDECAR_CONFIG"
EXIT_CONFIG = 2

config_option = click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=DEFAULT_PATH,
    envvar=CONFIG_VARIABLE,
    show_default=True,
    help="The configuration file.",
)


def load_or_exit(path: Path) -> Config:
    """Return the configuration; print every problem in it and exit with status 2 otherwise."""
    try:
        return load(path)
    except ConfigError as error:
        click.echo(error, err=True)
        if any("Permission denied" in problem.text for problem in error.problems):
            click.echo("hint: type this as root, or as the daemon's user", err=True)
        elif not os.access(path, os.F_OK):
            click.echo(f"hint: name the file with --config or {CONFIG_VARIABLE}", err=True)
        sys.exit(EXIT_CONFIG)
