"""What a probe finds out about a domain in DNS, beyond what a check needs of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from sidecar.names import Domain
from sidecar.s2s.address_policy import is_literal
from sidecar.s2s.dial import place_of
from sidecar.s2s.failures import Failure, Reason
from sidecar.s2s.probe.findings import Finding, Rule
from sidecar.s2s.resolver import FALLBACK_PORT, SERVICES, Resolver
from sidecar.s2s.srv import MAX_TARGETS, SrvRecord, Target, order

_SLOW_SECONDS = 2.0
_MAX_NAME_SERVERS = 8
_NAME_SERVER_SECONDS = 4.0
_RULES = {
    Reason.DNS_NO_SERVICE: Rule.DNS_NO_SERVICE,
    Reason.DNS_NO_ADDRESS: Rule.DNS_NO_ADDRESS,
}

Services = Mapping[str, tuple[SrvRecord, ...] | Failure]


@dataclass(frozen=True, slots=True)
class DnsProbe:
    """`allowed`: which addresses of name servers may be asked, at `name_server_port`."""

    resolver: Resolver
    allowed: Callable[[str], bool]
    name_server_port: int = 53
    clock: Callable[[], float] = monotonic

    async def targets(self, domain: Domain) -> tuple[tuple[Target, ...], list[Finding]]:
        """Where the domain's servers are, as a peer would try them, and what is wrong there."""
        findings = []
        if domain.a_label != domain:
            findings.append(Finding(Rule.DOMAIN_IDN, domain, domain.a_label))
        (services, seconds), about_servers = await asyncio.gather(
            self._timed_services(domain), self._compare_name_servers(domain)
        )
        if seconds > _SLOW_SECONDS:
            findings.append(Finding(Rule.DNS_SLOW, domain, f"{seconds:.1f} s"))
        findings += [*_judge_services(domain, services), *about_servers]
        records = await self.resolver.services(domain)
        if isinstance(records, Failure):
            rule = _RULES.get(records.reason, Rule.DNS_FAILED)
            return (), [*findings, Finding(rule, domain, str(records))]
        if not records:
            findings.append(Finding(Rule.DNS_NO_SRV, domain))
            return (Target(domain.a_label, FALLBACK_PORT),), findings
        if not any(record.direct_tls for record in records):
            findings.append(Finding(Rule.DNS_NO_DIRECT_TLS, domain))
        if all(record.direct_tls for record in records):
            findings.append(Finding(Rule.DNS_DIRECT_TLS_ONLY, domain))
        return _by_priority(records), findings

    async def addresses(self, name: str, *, srv: bool) -> tuple[tuple[str, ...], list[Finding]]:
        """The addresses of a target, and what is wrong with them; `srv`: a record named it."""
        found, alias = await asyncio.gather(
            self.resolver.addresses(name), self.resolver.alias(name)
        )
        findings = []
        if srv and alias is not None:
            findings.append(Finding(Rule.DNS_SRV_ALIAS, name, f"CNAME {alias}"))
        if isinstance(found, Failure):
            rule = _RULES.get(found.reason, Rule.DNS_FAILED)
            return (), [*findings, Finding(rule, name, str(found))]
        if not any(":" in address for address in found):
            findings.append(Finding(Rule.DNS_NO_IPV6, name))
        findings += [
            Finding(Rule.DNS_NOT_PUBLIC, name, address)
            for address in found
            if not self.allowed(address)
        ]
        return found, findings

    async def _timed_services(self, domain: Domain) -> tuple[Services, float]:
        start = self.clock()
        return await self.resolver.raw_services(domain), self.clock() - start

    async def _compare_name_servers(self, domain: Domain) -> list[Finding]:
        """Ask each server of the zone itself: does it answer, and the same as the others?"""
        names = (await self.resolver.name_servers(domain))[:_MAX_NAME_SERVERS]
        asked = await asyncio.gather(*(self._ask_name_server(name, domain) for name in names))
        findings, said = [], dict[tuple[SrvRecord, ...], list[str]]()
        for name, answer in zip(names, asked, strict=True):
            if isinstance(answer, Failure):
                findings.append(Finding(Rule.DNS_LAME, name, str(answer)))
            elif answer is not None:
                said.setdefault(answer, []).append(name)
        if len(said) > 1:
            text = "; ".join(
                f"{', '.join(names)}: {len(records)} records" for records, names in said.items()
            )
            findings.append(Finding(Rule.DNS_INCONSISTENT, domain, text))
        return findings

    async def _ask_name_server(
        self, name: str, domain: Domain
    ) -> tuple[SrvRecord, ...] | Failure | None:
        """The SRV records in the word of one server; None where it is not to be asked."""
        addresses = await self.resolver.addresses(name)
        if isinstance(addresses, Failure):
            return addresses
        address = next((each for each in addresses if ":" not in each), addresses[0])
        if not self.allowed(address):
            return None
        resolver = Resolver(
            [place_of((address, self.name_server_port))], timeout_seconds=_NAME_SERVER_SECONDS
        )
        try:
            services = await resolver.raw_services(domain)
        finally:
            await resolver.close()
        found: list[SrvRecord] = []
        for answer in services.values():
            if isinstance(answer, Failure):
                return answer
            found += answer
        return tuple(sorted(found, key=lambda record: (record.target, record.port)))


def _judge_services(domain: Domain, services: Services) -> list[Finding]:
    findings = []
    answered = [each for each in services.values() if not isinstance(each, Failure)]
    for service in SERVICES:
        records = services[service]
        place = f"{service}._tcp.{domain.a_label}"
        if isinstance(records, Failure):
            if any(answered):
                findings.append(Finding(Rule.DNS_SERVICE_FAILED, place, str(records)))
            continue
        names = [record.target for record in records]
        if "" in names and len(names) > 1:
            findings.append(Finding(Rule.DNS_DOT_AMONG_OTHERS, place))
        findings += [
            Finding(Rule.DNS_SRV_ADDRESS, place, name)
            for name in names
            if name and is_literal(name)
        ]
    return findings


def _by_priority(records: Sequence[SrvRecord]) -> tuple[Target, ...]:
    """The targets as a peer would try them, without chance: the heaviest of each priority first."""
    return order(records, lambda: 1.0 - 1e-9)[:MAX_TARGETS]
