"""A probe as the report that the API and the command line give out."""

from __future__ import annotations

from sidecar.operations.probe_report import (
    ProbedConnection,
    ProbedService,
    ProbeFinding,
    ProbeReport,
)
from sidecar.pkix.pins import pin_of
from sidecar.s2s.probe.prober import Probe, ProbedTarget
from sidecar.s2s.probe.stream import Seen


def report_of(probe: Probe) -> ProbeReport:
    return ProbeReport(
        domain=str(probe.domain),
        sender=probe.local and str(probe.local),
        failed=probe.failed,
        targets=[_service(probed) for probed in probe.targets],
        findings=[
            ProbeFinding(
                rule=finding.rule.id,
                severity=finding.rule.severity.value,
                place=str(finding.place),
                text=finding.text,
                advice=finding.rule.advice,
            )
            for finding in probe.findings
        ],
    )


def _service(probed: ProbedTarget) -> ProbedService:
    return ProbedService(
        name=str(probed.target.name),
        port=probed.target.port,
        direct_tls=probed.target.direct_tls,
        addresses=list(probed.addresses),
        connections=[_connection(seen) for seen in sorted(probed.seen, key=lambda s: s.place)],
    )


def _connection(seen: Seen) -> ProbedConnection:
    return ProbedConnection(
        place=seen.place,
        tls_version=seen.tls_version,
        tls_cipher=seen.tls_cipher,
        alpn=seen.alpn,
        pin=pin_of(seen.chain[0]) if seen.chain else None,
        legacy=seen.legacy,
        mechanisms=list(seen.mechanisms),
        features=list(seen.features),
        dialback=seen.dialback_offered,
        dialback_errors=seen.dialback_errors,
        dialback_result=seen.dialback,
        trouble=None if seen.trouble is None else seen.trouble.rule.id,
    )
