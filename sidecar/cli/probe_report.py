"""A probe for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import msgspec

from sidecar.s2s.probe import Probe, ProbedTarget
from sidecar.s2s.probe_findings import Finding, Severity
from sidecar.s2s.probe_stream import Seen

_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
_ORDER = list(Severity)


def as_text(probe: Probe) -> str:
    """The report, with advice for each finding."""
    me = f", as {probe.local}" if probe.local else ""
    lines = [click.style(f"{probe.domain}{me}", bold=True)]
    for probed in probe.targets:
        lines += _target(probed)
    if not probe.findings:
        return "\n".join([*lines, click.style("  nothing to complain about", fg="green")])
    for finding in sorted(probe.findings, key=lambda f: _ORDER.index(f.rule.severity)):
        lines += _finding(finding)
    return "\n".join(lines)


def _target(probed: ProbedTarget) -> Iterator[str]:
    target = probed.target
    kind = "direct TLS" if target.direct_tls else "STARTTLS"
    yield f"  {target.name} port {target.port}, {kind}: {', '.join(probed.addresses) or 'nowhere'}"
    for seen in probed.seen:
        yield f"    {seen.place}: {', '.join(_seen(seen))}"


def _seen(seen: Seen) -> Iterator[str]:
    yield f"{seen.tls_version} {seen.tls_cipher}" if seen.tls_version else "no TLS"
    if seen.mechanisms:
        yield "SASL " + " ".join(seen.mechanisms)
    if seen.dialback_offered:
        yield "dialback with errors" if seen.dialback_errors else "dialback"
    if seen.dialback == "valid":
        yield "our domain is proven to it by dialback"
    if seen.trouble is not None:
        yield seen.trouble.rule.id


def _finding(finding: Finding) -> Iterator[str]:
    severity = finding.rule.severity
    label = click.style(f"{severity.value:<8}", fg=_COLOURS[severity])
    said = f": {finding.text}" if finding.text else ""
    yield f"  {label}{finding.rule.id}  {finding.place}{said}"
    yield f"          {finding.rule.advice}"


def as_json(probe: Probe) -> dict[str, Any]:
    """The report as values; rule ids and severities are stable."""
    return {
        "domain": probe.domain,
        "local": probe.local,
        "failed": probe.failed,
        "targets": [
            {
                "name": probed.target.name,
                "port": probed.target.port,
                "direct_tls": probed.target.direct_tls,
                "addresses": list(probed.addresses),
                "connections": [_connection(seen) for seen in probed.seen],
            }
            for probed in probe.targets
        ],
        "findings": [
            {
                "rule": finding.rule.id,
                "severity": finding.rule.severity.value,
                "place": finding.place,
                "text": finding.text,
                "advice": finding.rule.advice,
            }
            for finding in probe.findings
        ],
    }


def _connection(seen: Seen) -> dict[str, Any]:
    return {
        "place": seen.place,
        "tls_version": seen.tls_version,
        "tls_cipher": seen.tls_cipher,
        "alpn": seen.alpn,
        "legacy": seen.legacy,
        "mechanisms": list(seen.mechanisms),
        "features": list(seen.features),
        "dialback": seen.dialback_offered,
        "dialback_errors": seen.dialback_errors,
        "dialback_result": seen.dialback,
    }


def show(probes: list[Probe], *, json: bool) -> None:
    """Print all of them; as JSON one array."""
    if json:
        encoded = msgspec.json.encode([as_json(probe) for probe in probes], enc_hook=str)
        click.echo(msgspec.json.format(encoded, indent=2))
    else:
        click.echo("\n\n".join(as_text(probe) for probe in probes))
