"""`dialback-sidecar check config`: every problem of the file, each with its place."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from sidecar.cli.api_commands import json_option
from sidecar.cli.config_option import EXIT_CONFIG, config_option, load_or_exit
from sidecar.cli.tables import show_json
from sidecar.config import Config, load
from sidecar.errors import ConfigError


@click.command("config")
@config_option
@json_option
def check_config(config_path: Path, as_json: bool) -> None:
    """Read the configuration and list every problem in it; exit status 2 if there is one.

    Example: dialback-sidecar check config --config sidecar.toml
    """
    if as_json:
        return _show_json(config_path)
    config = load_or_exit(config_path)
    click.echo(f"{config_path}: all right")
    for link in config.link:
        click.echo(f"  link {link.name} at {link.host}:{link.port}")
        click.echo(f"    speaks for {', '.join(link.domains.patterns)}")
    authority = config.authority
    if authority.enabled:
        click.echo(f"  authority on {', '.join((*authority.listen, *authority.listen_tls))}")
        click.echo(f"    answers for {', '.join(_authority_domains(config))}")
    if config.keyd.socket is None:
        click.echo(
            "  key service: a child process of the daemon, under the same user: whoever takes\n"
            "    over the daemon can read its secrets; set keyd.socket to run it by itself"
        )
    else:
        click.echo(f"  key service: {config.keyd.socket}")


def _show_json(config_path: Path) -> None:
    try:
        config = load(config_path)
    except ConfigError as error:
        problems = [{"place": each.place, "text": each.text} for each in error.problems]
        show_json({"file": str(config_path), "problems": problems})
        sys.exit(EXIT_CONFIG)
    show_json({"file": str(config_path), "problems": [], **_found(config)})


def _found(config: Config) -> dict[str, Any]:
    links = [
        {
            "jid": str(link.jid),
            "host": link.host,
            "port": link.port,
            "domains": list(link.domains.patterns),
        }
        for link in config.link
    ]
    authority = None
    if config.authority.enabled:
        authority = {
            "listen": list(config.authority.listen),
            "listen_tls": list(config.authority.listen_tls),
            "domains": _authority_domains(config),
        }
    socket = config.keyd.socket
    return {
        "links": links,
        "authority": authority,
        "key_service": None if socket is None else str(socket),
    }


def _authority_domains(config: Config) -> list[str]:
    own = config.authority.domains
    answered = config.domains if own is None else (own,)
    return [pattern for domains in answered for pattern in domains.patterns]
