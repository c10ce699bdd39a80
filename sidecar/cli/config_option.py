"""`--config FILE`, the same for every command that needs the configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from sidecar.config import Config, Places, load, places
from sidecar.errors import ConfigError

DEFAULT_PATH = Path("/etc/dialback-sidecar/sidecar.toml")
CONFIG_VARIABLE = "DIALBACK_SIDECAR_CONFIG"
EXIT_CONFIG = 2

_Read = TypeVar("_Read")

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
    return _read_or_exit(load, path)


def places_or_exit(path: Path) -> Places:
    """Return where the daemon is asked, also while other things in its file are wrong."""
    return _read_or_exit(places, path)


def _read_or_exit(read: Callable[[Path], _Read], path: Path) -> _Read:
    try:
        return read(path)
    except ConfigError as error:
        click.echo(error, err=True)
        if any("Permission denied" in problem.text for problem in error.problems):
            click.echo("hint: type this as root, or as the daemon's user", err=True)
        elif not os.access(path, os.F_OK):
            click.echo(f"hint: name the file with --config or {CONFIG_VARIABLE}", err=True)
        sys.exit(EXIT_CONFIG)
