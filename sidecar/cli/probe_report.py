"""A probe for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

import click

from sidecar.cli.tables import WIDTH
from sidecar.operations.probe_report import (
    ProbedConnection,
    ProbedService,
    ProbeFinding,
    ProbeReport,
)

_INDENT = " " * 10
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


def show(reports: Sequence[ProbeReport]) -> None:
    """Print them, with advice for each finding."""
    click.echo("\n\n".join(_text(report) for report in reports))


def _text(report: ProbeReport) -> str:
    me = f", as {report.sender}" if report.sender else ""
    lines = [click.style(f"{report.domain}{me}", bold=True)]
    for service in report.targets:
        lines += _service(service)
    if not report.findings:
        lines.append(click.style("  nothing to complain about", fg="green"))
    for finding in report.findings:
        lines += _finding(finding)
    return "\n".join(lines)


def _service(service: ProbedService) -> Iterator[str]:
    kind = "direct TLS" if service.direct_tls else "STARTTLS"
    addresses = ", ".join(service.addresses) or "nowhere"
    yield f"  {service.name} port {service.port}, {kind}: {addresses}"
    for connection in service.connections:
        seen = f"    {connection.place}: {', '.join(_seen(connection))}"
        yield from wrap(seen, WIDTH, subsequent_indent=" " * 6, break_on_hyphens=False)
        if connection.pin is not None:
            yield f"      pin {connection.pin}"


def _seen(seen: ProbedConnection) -> Iterator[str]:
    yield f"{seen.tls_version} {seen.tls_cipher}" if seen.tls_version else "no TLS"
    if seen.mechanisms:
        yield "SASL " + " ".join(seen.mechanisms)
    if seen.dialback:
        yield "dialback and dialback errors" if seen.dialback_errors else "dialback"
    if seen.dialback_result == "valid":
        yield "our domain is proven to it by dialback"
    if seen.trouble is not None:
        yield seen.trouble


def _finding(finding: ProbeFinding) -> Iterator[str]:
    label = click.style(f"{finding.severity:<8}", fg=_COLOURS[finding.severity])
    text = finding.text.removeprefix(f"{finding.rule}: ")
    said = f": {text}" if text else ""
    yield f"  {label}{finding.rule}  {finding.place}{said}"
    yield from wrap(finding.advice, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)
