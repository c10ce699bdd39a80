"""Tries a remote domain step by step, and says what is wrong and what to do about it."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sidecar.names import Domain
from sidecar.s2s.address_budget import AddressBudget
from sidecar.s2s.address_policy import is_public
from sidecar.s2s.credentials import Credentials
from sidecar.s2s.dial import dial, place_of
from sidecar.s2s.evidence import Certificates
from sidecar.s2s.failures import Failure, Reason
from sidecar.s2s.probe.dns import DnsProbe
from sidecar.s2s.probe.findings import Finding, Rule, Severity
from sidecar.s2s.probe.judging import judge_connection
from sidecar.s2s.probe.stream import IssueKey, ProbeStream, Seen
from sidecar.s2s.resolver import Resolver
from sidecar.s2s.srv import Target

_MAX_ADDRESSES = 16
_TCP_RULES = {
    Reason.CONNECT_REFUSED: Rule.TCP_REFUSED,
    Reason.CONNECT_TIMEOUT: Rule.TCP_TIMEOUT,
    Reason.ADDRESS_REFUSED: Rule.DNS_NOT_PUBLIC,
    Reason.ADDRESS_BUSY: Rule.PROBE_LIMITED,
}
_SEVERITIES, _RULES = list(Severity), list(Rule)


class Depth(enum.IntEnum):
    """How far a probe goes."""

    DNS = 1
    TLS = 2
    DIALBACK = 3


@dataclass(slots=True)
class ProbedTarget:
    """One target of SRV with its addresses, and what each of them showed."""

    target: Target
    addresses: tuple[str, ...] = ()
    seen: list[Seen] = field(default_factory=list)


@dataclass(slots=True)
class Probe:
    """What there is to say about `domain`; the worst first."""

    domain: Domain
    local: Domain | None
    targets: list[ProbedTarget] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return any(finding.rule.severity is Severity.ERROR for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Prober:
    """Everything a probe needs; `issue` gives a key for a domain of ours, so that it can dial
    back as Initiating Server. A whole probe takes at most `seconds`."""

    resolver: Resolver
    certificates: Certificates
    credentials: Credentials
    now: Callable[[], datetime]
    allow_private_addresses: bool = False
    issue: IssueKey | None = None
    budget: AddressBudget | None = None
    connect_seconds: float = 5.0
    stream_seconds: float = 10.0
    dialback_seconds: float = 30.0
    seconds: float = 90.0
    name_server_port: int = 53

    async def probe(
        self, domain: Domain, *, local: Domain | None = None, depth: Depth = Depth.DIALBACK
    ) -> Probe:
        """Probe `domain`, as `local` where we say who we are."""
        probe = Probe(domain, local)
        try:
            async with asyncio.timeout(self.seconds):
                await self._look(probe, depth)
        except TimeoutError:
            probe.findings.append(Finding(Rule.PROBE_TIMEOUT, domain, f"{self.seconds:g} s"))
        probe.findings.sort(key=_worst_first)
        return probe

    async def _look(self, probe: Probe, depth: Depth) -> None:
        dns = DnsProbe(self.resolver, self._allowed, self.name_server_port)
        targets, findings = await dns.targets(probe.domain)
        probe.findings += findings
        srv = not any(finding.rule is Rule.DNS_NO_SRV for finding in findings)
        left = _MAX_ADDRESSES
        for target in targets:
            probed = ProbedTarget(target)
            probe.targets.append(probed)
            addresses, findings = await dns.addresses(target.name, srv=srv)
            probe.findings += findings
            probed.addresses = addresses[:left]
            left -= len(probed.addresses)
        if depth < Depth.TLS:
            return
        await asyncio.gather(
            *(
                self._connect(probe, probed, address, depth)
                for probed in probe.targets
                for address in probed.addresses
                if self._allowed(address)
            )
        )
        if targets and not probe.failed and not any(probed.seen for probed in probe.targets):
            probe.findings.append(Finding(Rule.NO_CONNECTION, probe.domain))

    async def _connect(
        self, probe: Probe, probed: ProbedTarget, address: str, depth: Depth
    ) -> None:
        target = probed.target
        place = place_of((address, target.port))
        connected: object
        try:
            async with asyncio.timeout(self.connect_seconds):
                connected = await dial(
                    [address], target.port, allowed=self._allowed, budget=self.budget
                )
        except TimeoutError:
            connected = Failure(Reason.CONNECT_TIMEOUT)
        if isinstance(connected, Failure):
            rule = _TCP_RULES.get(connected.reason, Rule.TCP_UNREACHABLE)
            if rule is Rule.TCP_UNREACHABLE and ":" in address:
                rule = Rule.TCP_NO_IPV6_HERE
            probe.findings.append(Finding(rule, place, connected.detail))
            return
        local = probe.local or probe.domain
        stream = ProbeStream(connected, place, ip=address, local=probe.local, remote=probe.domain)
        seen = await stream.look(
            self.credentials.context(local, direct_tls=target.direct_tls),
            direct_tls=target.direct_tls,
            issue=self.issue if depth >= Depth.DIALBACK else None,
            timeout_seconds=self.stream_seconds,
            dialback_seconds=self.dialback_seconds,
        )
        probed.seen.append(seen)
        shown = probe.local is not None and self.credentials.shows(probe.local)
        probe.findings += judge_connection(
            seen, probe.domain, self.certificates, self.now(), shown=shown
        )

    def _allowed(self, address: str) -> bool:
        return self.allow_private_addresses or is_public(address)


def _worst_first(finding: Finding) -> tuple[int, int, str]:
    rule = finding.rule
    return _SEVERITIES.index(rule.severity), _RULES.index(rule), finding.place
