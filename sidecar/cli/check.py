"""`dialback-sidecar check ...`: what is wrong, before it hurts."""

from __future__ import annotations

from pathlib import Path

import click

from sidecar.cli.config_option import config_option, load_or_exit


@click.group()
def check() -> None:
    """Find out what is wrong, before it hurts."""


@check.command("config")
@config_option
def check_config(config_path: Path) -> None:
    """Read the configuration and list every problem in it; exit status 2 if there is one.

    Example: dialback-sidecar check config --config sidecar.toml
    """
    config = load_or_exit(config_path)
    click.echo(f"{config_path}: all right")
    for link in config.link:
        click.echo(f"  link {link.name} at {link.host}:{link.port}")
        click.echo(f"    speaks for {', '.join(link.domains.patterns)}")
    if config.keyd.socket is None:
        click.echo(
            "  key service: a child process of the daemon, under the same user: whoever takes\n"
            "    over the daemon can read its secrets; set keyd.socket to run it by itself"
        )
    else:
        click.echo(f"  key service: {config.keyd.socket}")
