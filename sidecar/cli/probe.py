"""`dialback-sidecar probe DOMAIN`: why does federation with this domain fail?"""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path

import click
import msgspec
from click.core import ParameterSource

from sidecar.cli.api_client import client
from sidecar.cli.api_commands import json_option, token_option
from sidecar.cli.config_option import config_option, load_or_exit
from sidecar.cli.probing import fail_on_option, finish, probe_here
from sidecar.config import Config
from sidecar.errors import InvalidValue
from sidecar.names import Domain
from sidecar.operations.probe_report import ProbeReport
from sidecar.s2s.probe.prober import Depth


def _parse(_: click.Context, __: click.Parameter, value: str | None) -> Domain | None:
    try:
        return None if value is None else _no_address(Domain.parse(value))
    except InvalidValue as error:
        raise click.BadParameter(error.problem) from None


def _no_address(domain: Domain) -> Domain:
    try:
        ip_address(str(domain).strip("[]"))
    except ValueError:
        return domain
    raise InvalidValue("domain", f"expected a domain name, got the address {domain}")


@click.command()
@click.argument("domain", callback=_parse)
@click.option(
    "--from", "sender", metavar="OURS", callback=_parse, help="Dial back as this domain of ours."
)
@config_option
@token_option
@fail_on_option
@json_option
def probe(
    domain: Domain,
    sender: Domain | None,
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
    if sender is None:
        reports = probe_here(_config(config_path), [domain], Depth.TLS)
    else:
        fields = {"domain": str(domain), "sender": str(sender)}
        content = client(config_path, token_file).do("probes-run", fields)
        reports = [msgspec.convert(content, ProbeReport)]
    finish(reports, fail_on, as_json=as_json, many=False)


def _config(path: Path) -> Config | None:
    """What was named has to be there; the default file is used where we may read it."""
    source = click.get_current_context().get_parameter_source("config_path")
    if source is ParameterSource.DEFAULT and not os.access(path, os.R_OK):
        return None
    return load_or_exit(path)
