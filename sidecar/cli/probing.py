"""Probes made by the command itself, without the daemon: nothing of ours is proven by them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from sidecar.cli.probe_report import show
from sidecar.cli.progress import patience
from sidecar.cli.tables import show_json
from sidecar.config import CheckConfig, Config
from sidecar.names import Domain
from sidecar.operations.probe_report import ProbeReport
from sidecar.s2s.credentials import Credentials
from sidecar.s2s.evidence import Certificates, utc_now
from sidecar.s2s.probe.prober import Depth, Prober
from sidecar.s2s.probe.report import report_of
from sidecar.s2s.resolver import Resolver

_Command = Callable[..., Any]


def fail_on_option(command: _Command) -> _Command:
    """`--fail-on`: which findings make the exit status 1."""
    return click.option(
        "--fail-on",
        type=click.Choice(["error", "warning"]),
        default="error",
        show_default=True,
        help="The exit status is 1 from this severity on.",
    )(command)


def probe_here(config: Config | None, domains: Sequence[Domain], depth: Depth) -> list[ProbeReport]:
    """Probe each of `domains`. Without a configuration, with its defaults."""
    with patience(f"trying {', '.join(domains[:3])} ..."):
        return asyncio.run(_probe(config, domains, depth))


async def _probe(
    config: Config | None, domains: Sequence[Domain], depth: Depth
) -> list[ProbeReport]:
    check = config.check if config else CheckConfig()
    resolver = Resolver(check.nameservers)
    prober = Prober(
        resolver=resolver,
        certificates=Certificates(check.trusted_certificates),
        credentials=Credentials(config.certificate if config else ()),
        now=utc_now,
        allow_private_addresses=check.allow_private_addresses,
    )
    try:
        return [report_of(await prober.probe(domain, depth=depth)) for domain in domains]
    finally:
        await resolver.close()


def finish(reports: Sequence[ProbeReport], fail_on: str, *, as_json: bool, many: bool) -> None:
    """Print the reports (`many`: as JSON an array) and exit with the status they deserve."""
    if as_json:
        show_json(reports if many else reports[0])
    else:
        show(reports)
    bad = [
        each for each in reports if each.failed or (fail_on == "warning" and each.has("warning"))
    ]
    sys.exit(1 if bad else 0)
