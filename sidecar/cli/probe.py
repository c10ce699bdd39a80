"""`dialback-sidecar probe DOMAIN`: why does federation with this domain fail?"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import click

from sidecar.cli.config_option import EXIT_CONFIG, config_option, load_or_exit
from sidecar.cli.probe_report import show
from sidecar.config import CheckConfig, Config
from sidecar.errors import InvalidValue, KeyRefused, KeyServiceUnavailable
from sidecar.key_client import KeyClient
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.s2s.credentials import Credentials
from sidecar.s2s.evidence import Certificates, utc_now
from sidecar.s2s.probe import Depth, Probe, Prober
from sidecar.s2s.probe_findings import Rule
from sidecar.s2s.probe_stream import IssueKey, Trouble
from sidecar.s2s.resolver import Resolver

_KEY_SECONDS = 3.0

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.argument("domain")
@click.option("--from", "local", metavar="OURS", help="Dial back as this domain of ours.")
@config_option
@json_option
def probe(domain: str, local: str | None, config_path: Path, as_json: bool) -> None:
    """Try DOMAIN step by step, as a peer would: DNS, TCP, TLS, certificate, features.

    With --from it also proves a domain of ours by dialback, with a key that dialback-keyd
    issues: run it as the user of the daemon. Exit status 1 when there is an error.

    Example: dialback-sidecar probe example.net --from example.org
    """
    remote, ours = _domain(domain), _domain(local) if local else None
    config = load_or_exit(config_path) if ours or config_path.exists() else None
    if config and ours and not any(link.domains.speaks_for(ours) for link in config.link):
        click.echo(f"{ours} is no domain of a link in {config_path}", err=True)
        sys.exit(EXIT_CONFIG)
    probes = run_probes(config, [(remote, ours)], Depth.DIALBACK if ours else Depth.TLS)
    show(probes, json=as_json)
    sys.exit(any(each.failed for each in probes))


def run_probes(
    config: Config | None, domains: Sequence[tuple[Domain, Domain | None]], depth: Depth
) -> list[Probe]:
    """Probe each (remote, ours). Without a configuration, with its defaults."""
    return asyncio.run(_run(config, domains, depth))


async def _run(
    config: Config | None, domains: Sequence[tuple[Domain, Domain | None]], depth: Depth
) -> list[Probe]:
    check = config.check if config else CheckConfig()
    resolver = Resolver(check.nameservers)
    try:
        async with _issuer(config if depth >= Depth.DIALBACK else None) as issue:
            prober = Prober(
                resolver=resolver,
                certificates=Certificates(check.trusted_certificates),
                credentials=Credentials(config.certificate if config else ()),
                now=utc_now,
                allow_private_addresses=check.allow_private_addresses,
                issue=issue,
            )
            return [
                await prober.probe(remote, local=local, depth=depth) for remote, local in domains
            ]
    finally:
        await resolver.close()


@asynccontextmanager
async def _issuer(config: Config | None) -> AsyncIterator[IssueKey | None]:
    """A way to get dialback keys from the key service of the configuration."""
    if config is None:
        yield None
        return
    keys = KeyClient(config.keyd.socket or config.state_directory / "keyd.sock")

    async def issue(pair: DomainPair, stream: StreamId) -> DialbackKey:
        try:
            await keys.start(timeout_seconds=_KEY_SECONDS)
            return await keys.issue(pair, stream, timeout_seconds=_KEY_SECONDS)
        except (KeyServiceUnavailable, KeyRefused) as error:
            raise Trouble(Rule.KEY_NOT_ISSUED, str(error)) from error

    try:
        yield issue
    finally:
        await keys.close()


def _domain(text: str) -> Domain:
    try:
        return Domain.parse(text)
    except InvalidValue as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_CONFIG)
