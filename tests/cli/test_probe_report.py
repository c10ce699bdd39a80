"""A probe's report as text: the worst first, with advice that fits 80 columns."""

from __future__ import annotations

import msgspec
import pytest

from sidecar.cli.probe_report import show
from sidecar.operations.probe_report import (
    ProbedConnection,
    ProbedService,
    ProbeFinding,
    ProbeReport,
)
from sidecar.s2s.probe.findings import Rule

CONNECTION = {
    "place": "192.0.2.1:5269",
    "tls_version": "TLSv1.3",
    "tls_cipher": "TLS_AES_256_GCM_SHA384",
    "alpn": "",
    "pin": None,
    "legacy": False,
    "mechanisms": ["EXTERNAL"],
    "features": [],
    "dialback": True,
    "dialback_errors": True,
    "dialback_result": "valid",
    "trouble": None,
}
SERVICE = ProbedService(
    name="xmpp.example.net",
    port=5269,
    direct_tls=False,
    addresses=["192.0.2.1"],
    connections=[msgspec.convert(CONNECTION, ProbedConnection)],
)


def report(*findings: ProbeFinding) -> ProbeReport:
    return ProbeReport(
        domain="example.net",
        sender="example.org",
        failed=False,
        targets=[SERVICE],
        findings=list(findings),
    )


def test_report_without_findings_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    show([report()])
    assert capsys.readouterr().out.splitlines() == [
        "example.net, as example.org",
        "  xmpp.example.net port 5269, STARTTLS: 192.0.2.1",
        "    192.0.2.1:5269: TLSv1.3 TLS_AES_256_GCM_SHA384, SASL EXTERNAL, dialback and",
        "      dialback errors, our domain is proven to it by dialback",
        "  nothing to complain about",
    ]


@pytest.mark.parametrize("rule", Rule, ids=lambda rule: rule.id)
def test_advice_fits_eighty_columns(rule: Rule, capsys: pytest.CaptureFixture[str]) -> None:
    severity = rule.severity.value
    show(
        [
            report(
                ProbeFinding(
                    rule=rule.id,
                    severity=severity,
                    place="192.0.2.1:5269",
                    text="seen",
                    advice=rule.advice,
                )
            )
        ]
    )
    heading, *advice = capsys.readouterr().out.splitlines()[4:]
    assert heading == f"  {severity:<8}{rule.id}  192.0.2.1:5269: seen"
    assert " ".join(line.strip() for line in advice) == rule.advice
    assert max(len(line) for line in advice) <= 80
