"""`dialback-sidecar probe DOMAIN`: why does federation with this domain fail?"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from sidecar.cli.api_client import client
from sidecar.cli.api_commands import json_option, token_option
from sidecar.cli.config_option import EXIT_CONFIG, config_option, load_or_exit
from sidecar.cli.probing import fail_on_option, finish, probe_here
from sidecar.errors import InvalidValue
from sidecar.names import Domain
from sidecar.operations.probe_report import ProbeReport
from sidecar.s2s.probe import Depth


@click.command()
@click.argument("domain")
@click.option("--from", "sender", metavar="OURS", help="Dial back as this domain of ours.")
@config_option
@token_option
@fail_on_option
@json_option
def probe(
    domain: str,
    sender: str | None,
    config_path: Path,
    token_file: Path | None,
    fail_on: str,
    as_json: bool,
) -> None:
    """Try DOMAIN step by step, as a peer would: DNS, TCP, TLS, certificate, features.

    With --from the daemon does it, and also proves a domain of ours to the end by dialback;
    without it nothing is needed, not even a configuration. Exit status 1 when there is an error.

    Example: dialback-sidecar probe example.net --from example.org
    """
    remote = _domain(domain)
    if sender is None:
        config = load_or_exit(config_path) if config_path.exists() else None
        reports = probe_here(config, [remote], Depth.TLS)
    else:
        fields = {"domain": str(remote), "sender": str(_domain(sender))}
        content = client(config_path, token_file).do("probes-run", fields)
        reports = [msgspec.convert(content, ProbeReport)]
    finish(reports, fail_on, as_json=as_json, many=False)


def _domain(text: str) -> Domain:
    try:
        return Domain.parse(text)
    except InvalidValue as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_CONFIG)
