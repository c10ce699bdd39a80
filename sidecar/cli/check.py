"""`dialback-sidecar check ...`: what is wrong, before it hurts."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sidecar.cli.api_commands import json_option
from sidecar.cli.check_config import check_config
from sidecar.cli.config_option import EXIT_CONFIG, config_option, load_or_exit
from sidecar.cli.probing import fail_on_option, finish, probe_here
from sidecar.names import Domain
from sidecar.s2s.probe.prober import Depth


@click.group()
def check() -> None:
    """Find out what is wrong, before it hurts."""


check.add_command(check_config)


@check.command("dns")
@config_option
@fail_on_option
@json_option
def check_dns(config_path: Path, fail_on: str, as_json: bool) -> None:
    """Look at our own domains as others find them in DNS; exit status 1 if there is an error.

    Example: dialback-sidecar check dns --fail-on warning
    """
    _check_own(config_path, Depth.DNS, fail_on, as_json)


@check.command("tls")
@config_option
@fail_on_option
@json_option
def check_tls(config_path: Path, fail_on: str, as_json: bool) -> None:
    """Connect to our own domains as a peer would, and look at TLS and certificates.

    Exit status 1 if there is an error.

    Example: dialback-sidecar check tls --json
    """
    _check_own(config_path, Depth.TLS, fail_on, as_json)


def _check_own(config_path: Path, depth: Depth, fail_on: str, as_json: bool) -> None:
    """Probe every domain that the configuration names; patterns name none."""
    config = load_or_exit(config_path)
    patterns = [pattern for domains in config.domains for pattern in domains.patterns]
    own = [Domain.parse(each) for each in dict.fromkeys(patterns) if "*" not in each]
    if not own:
        click.echo("the configuration names no domain, only patterns", err=True)
        sys.exit(EXIT_CONFIG)
    finish(probe_here(config, own, depth), fail_on, as_json=as_json, many=True)
