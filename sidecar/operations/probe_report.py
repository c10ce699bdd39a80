"""What a probe of a domain found, for programs: the API's answer and the command line's JSON."""

from __future__ import annotations

from typing import Literal

from sidecar.operations.fields import Output

SeverityName = Literal["error", "warning", "note"]


class ProbedConnection(Output, frozen=True):
    """What one address showed. `pin` is of its certificate's key, as a rule about the peer takes
    it; `mechanisms` are those of SASL that it offers to us; `dialback_result` is what it said of
    our domain, empty where it was not asked."""

    place: str
    tls_version: str
    tls_cipher: str
    alpn: str
    pin: str | None
    legacy: bool
    mechanisms: list[str]
    features: list[str]
    dialback: bool
    dialback_errors: bool
    dialback_result: str
    trouble: str | None


class ProbedService(Output, frozen=True):
    """One target of the domain's SRV records, with its addresses."""

    name: str
    port: int
    direct_tls: bool
    addresses: list[str]
    connections: list[ProbedConnection]


class ProbeFinding(Output, frozen=True):
    """One rule that fired at `place`. Rules and severities are stable; `text` is what was seen."""

    rule: str
    severity: SeverityName
    place: str
    text: str
    advice: str


class ProbeReport(Output, frozen=True):
    """Of `domain`, tried as `sender` where that is given; `failed`: there is an error in it."""

    domain: str
    sender: str | None
    failed: bool
    targets: list[ProbedService]
    findings: list[ProbeFinding]

    def has(self, *severities: SeverityName) -> bool:
        """Whether a finding has one of the severities."""
        return any(finding.severity in severities for finding in self.findings)
