"""What one check, and all checks together, may cost others whom a stranger names."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from checks import check_of
from scripted_authority import Peer, ScriptedAuthority

from sidecar.jobs import Condition
from sidecar.lab.dns import DnsServer
from sidecar.names import Domain
from sidecar.s2s.address_budget import DialLimits
from sidecar.s2s.checker import Checker
from sidecar.s2s.failures import Failure, Reason
from sidecar.s2s.resolver import Resolver

CHECK = check_of(ip="192.0.2.7")


async def test_one_check_dials_no_more_than_sixteen_addresses(
    checker: Checker, dns: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled: list[str] = []

    async def nobody(address: str, port: int, allowed: object) -> Failure:
        dialled.append(address)
        return Failure(Reason.CONNECT_REFUSED, address)

    monkeypatch.setattr("sidecar.s2s.dial._connect", nobody)
    for target in range(4):
        name = f"xmpp{target}.capulet.example"
        dns.add_srv("capulet.example", name, 5269, priority=target)
        dns.add_address(name, *(f"127.66.{target}.{host}" for host in range(1, 8)))
    verdict = await checker.check(CHECK, timeout_seconds=10)
    assert verdict.reason == "connect-refused"
    assert len(dialled) == len(set(dialled)) == 16


async def test_address_that_many_domains_name_is_dialled_as_often_as_its_budget_allows(
    dns: DnsServer, resolver: Resolver
) -> None:
    """Whoever owns domains can point them all at a victim."""

    async def victim(peer: Peer) -> None:
        peer.reset()

    limits = DialLimits(burst=12, per_second=0.001, prefix_burst=5, prefix_per_second=0.001)
    checker = Checker(resolver, allow_private_addresses=True, dials=limits)
    async with ScriptedAuthority(victim) as authority:
        dns.add_address("victim.example", authority.address)

        async def check(number: int, ip: str) -> str | None:
            sender = Domain.parse(f"d{number}.evil.example")
            dns.add_srv(sender, "victim.example", authority.port)
            pair = CHECK.pair._replace(sender=sender)
            verdict = await checker.check(replace(CHECK, pair=pair, ip=ip))
            if verdict.reason == "address-busy":
                assert verdict.condition is Condition.RESOURCE_CONSTRAINT
            return verdict.reason

        one_network = [await check(number, "198.51.100.1") for number in range(10)]
        assert Counter(one_network) == {"stream-closed": 5, "address-busy": 5}
        others = await asyncio.gather(
            *(check(100 + number, f"198.51.{number}.1") for number in range(20))
        )
        assert Counter(others) == {"stream-closed": 7, "address-busy": 13}
        assert authority.connections == 12
