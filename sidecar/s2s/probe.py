"""Tries a remote domain step by step, and says what is wrong and what to do about it."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from sidecar.names import Domain
from sidecar.pkix.flaws import Flawed
from sidecar.pkix.names import UNREADABLE
from sidecar.s2s.credentials import Credentials
from sidecar.s2s.dial import dial, place_of
from sidecar.s2s.evidence import Certificates
from sidecar.s2s.failures import Failure, Reason
from sidecar.s2s.policy import is_public
from sidecar.s2s.probe_findings import Finding, Rule, Severity
from sidecar.s2s.probe_stream import IssueKey, ProbeStream, Seen
from sidecar.s2s.resolver import FALLBACK_PORT, Resolver
from sidecar.s2s.srv import MAX_TARGETS, SrvRecord, Target, order

_ENDS_SOON = timedelta(days=14)
_MAX_ADDRESSES = 16

_DNS_RULES = {
    Reason.DNS_NO_SERVICE: Rule.DNS_NO_SERVICE,
    Reason.DNS_NO_ADDRESS: Rule.DNS_NO_ADDRESS,
}
_TCP_RULES = {
    Reason.CONNECT_REFUSED: Rule.TCP_REFUSED,
    Reason.CONNECT_TIMEOUT: Rule.TCP_TIMEOUT,
    Reason.ADDRESS_REFUSED: Rule.DNS_NOT_PUBLIC,
}
_FLAW_RULES = {rule.id: rule for rule in Rule if rule.id.startswith("certificate-")}


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
    """What there is to say about `domain`."""

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
    back as Initiating Server."""

    resolver: Resolver
    certificates: Certificates
    credentials: Credentials
    now: Callable[[], datetime]
    allow_private_addresses: bool = False
    issue: IssueKey | None = None
    connect_seconds: float = 5.0
    stream_seconds: float = 10.0
    dialback_seconds: float = 30.0

    async def probe(
        self, domain: Domain, *, local: Domain | None = None, depth: Depth = Depth.DIALBACK
    ) -> Probe:
        """Probe `domain`, as `local` where we say who we are. Raises what `issue` raises."""
        probe = Probe(domain, local)
        for target in await self._discover(probe):
            probed = ProbedTarget(target)
            probe.targets.append(probed)
            await self._resolve(probe, probed)
            if depth >= Depth.TLS:
                for address in probed.addresses:
                    await self._connect(probe, probed, address, depth)
        return probe

    async def _discover(self, probe: Probe) -> tuple[Target, ...]:
        records = await self.resolver.services(probe.domain)
        if isinstance(records, Failure):
            rule = _DNS_RULES.get(records.reason, Rule.DNS_FAILED)
            probe.findings.append(Finding(rule, probe.domain, str(records)))
            return ()
        if not records:
            probe.findings.append(Finding(Rule.DNS_NO_SRV, probe.domain))
            return (Target(probe.domain.a_label, FALLBACK_PORT),)
        if not any(record.direct_tls for record in records):
            probe.findings.append(Finding(Rule.DNS_NO_DIRECT_TLS, probe.domain))
        return _by_priority(records)

    async def _resolve(self, probe: Probe, probed: ProbedTarget) -> None:
        name = probed.target.name
        found = await self.resolver.addresses(name)
        if isinstance(found, Failure):
            rule = _DNS_RULES.get(found.reason, Rule.DNS_FAILED)
            probe.findings.append(Finding(rule, name, str(found)))
            return
        probed.addresses = found[:_MAX_ADDRESSES]
        if not any(":" in address for address in found):
            probe.findings.append(Finding(Rule.DNS_NO_IPV6, name))
        if not self.allow_private_addresses:
            for address in found:
                if not is_public(address):
                    probe.findings.append(Finding(Rule.DNS_NOT_PUBLIC, name, address))

    async def _connect(
        self, probe: Probe, probed: ProbedTarget, address: str, depth: Depth
    ) -> None:
        target = probed.target
        place = place_of((address, target.port))
        if not (self.allow_private_addresses or is_public(address)):
            return
        connected: object
        try:
            async with asyncio.timeout(self.connect_seconds):
                connected = await dial([address], target.port, allowed=self._allowed)
        except TimeoutError:
            connected = Failure(Reason.CONNECT_TIMEOUT)
        if isinstance(connected, Failure):
            rule = _TCP_RULES.get(connected.reason, Rule.TCP_UNREACHABLE)
            probe.findings.append(Finding(rule, place, connected.detail))
            return
        local = probe.local or probe.domain
        stream = ProbeStream(connected, place, local=probe.local, remote=probe.domain)
        seen = await stream.look(
            self.credentials.context(local, direct_tls=target.direct_tls),
            direct_tls=target.direct_tls,
            issue=self.issue if depth >= Depth.DIALBACK else None,
            timeout_seconds=self.stream_seconds,
            dialback_seconds=self.dialback_seconds,
        )
        probed.seen.append(seen)
        probe.findings += self._judge(probe, seen)

    def _allowed(self, address: str) -> bool:
        return self.allow_private_addresses or is_public(address)

    def _judge(self, probe: Probe, seen: Seen) -> list[Finding]:
        found: list[tuple[Rule, str]] = []
        if seen.chain:
            found += self._judge_certificate(probe.domain, seen.chain)
        if seen.tls_version and seen.tls_version not in ("TLSv1.2", "TLSv1.3"):
            found.append((Rule.TLS_OLD, seen.tls_version))
        if seen.direct_tls and seen.tls_version and seen.alpn != "xmpp-server":
            found.append((Rule.TLS_NO_ALPN, seen.alpn or "none"))
        if seen.trouble is not None:
            found.append((seen.trouble.rule, seen.trouble.text))
        elif seen.legacy:
            found.append((Rule.STREAM_LEGACY, ""))
        else:
            found += _judge_features(seen)
        if seen.dialback.startswith("invalid"):
            found.append((Rule.DIALBACK_INVALID, seen.dialback))
        elif seen.dialback.startswith("error"):
            found.append((Rule.DIALBACK_ERROR, seen.dialback))
        return [Finding(rule, seen.place, text) for rule, text in found]

    def _judge_certificate(
        self, domain: Domain, chain: tuple[bytes, ...]
    ) -> list[tuple[Rule, str]]:
        judged = self.certificates.judge(chain, domain)
        if isinstance(judged, Flawed):
            return [(_FLAW_RULES[judged.flaw.value], judged.detail)]
        found: list[tuple[Rule, str]] = []
        leaf = x509.load_der_x509_certificate(chain[0])
        if leaf.not_valid_after_utc - self.now() < _ENDS_SOON:
            found.append((Rule.CERTIFICATE_ENDS_SOON, f"{leaf.not_valid_after_utc:%Y-%m-%d}"))
        if not _is_for_clients(leaf):
            found.append((Rule.CERTIFICATE_SERVER_ONLY, ""))
        return found


def _judge_features(seen: Seen) -> list[tuple[Rule, str]]:
    found: list[tuple[Rule, str]] = []
    if not seen.tls_version:
        found.append((Rule.TLS_ABSENT, ""))
    elif "EXTERNAL" not in seen.mechanisms:
        found.append((Rule.EXTERNAL_ABSENT, ""))
    if not seen.dialback_offered:
        found.append((Rule.DIALBACK_ABSENT, ""))
    elif not seen.dialback_errors:
        found.append((Rule.DIALBACK_NO_ERRORS, ""))
    return found


def _by_priority(records: tuple[SrvRecord, ...]) -> tuple[Target, ...]:
    """The targets as a peer would try them, without chance: the heaviest of each priority first."""
    return order(records, lambda: 1.0 - 1e-9)[:MAX_TARGETS]


def _is_for_clients(certificate: x509.Certificate) -> bool:
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except UNREADABLE:
        return False
    return ExtendedKeyUsageOID.CLIENT_AUTH in purposes
