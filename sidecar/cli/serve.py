"""`dialback-sidecar serve`: the daemon."""

from __future__ import annotations

from pathlib import Path

import click

from sidecar import logs
from sidecar.cli.config_option import config_option, load_or_exit


@click.command()
@config_option
def serve(config_path: Path) -> None:
    """Run the daemon, until SIGTERM or Ctrl-C.

    Example: dialback-sidecar serve --config /etc/dialback-sidecar/sidecar.toml
    """
    config = load_or_exit(config_path)
    logs.configure(config.log.level, "dialback-sidecar", config.log.format)

    from sidecar.daemon.run import run  # the libraries behind it take a moment to load

    raise SystemExit(run(config, config_path.absolute()))
