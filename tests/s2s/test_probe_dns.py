"""What a probe says of a domain's DNS, from real answers of real DNS servers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sidecar.lab.addresses import fresh_address
from sidecar.lab.dns import DnsServer
from sidecar.lab.script import Fail, Slow
from sidecar.names import Domain
from sidecar.s2s.probe.dns import DnsProbe
from sidecar.s2s.probe.findings import Finding
from sidecar.s2s.resolver import Resolver

CAPULET = Domain.parse("capulet.example")
PLAIN, DIRECT = "_xmpp-server._tcp", "_xmpps-server._tcp"


def ids(findings: list[Finding]) -> set[str]:
    return {finding.rule.id for finding in findings}


@pytest.fixture
def probe(resolver: Resolver, dns: DnsServer) -> DnsProbe:
    return DnsProbe(resolver, lambda _: True, name_server_port=dns.port)


def both(dns: DnsServer) -> None:
    dns.add_srv(CAPULET, "xmpp.capulet.example", 5269)
    dns.add_srv(CAPULET, "xmpp.capulet.example", 5270, service=DIRECT)


SERVICES: dict[str, tuple[Callable[[DnsServer], None], set[str]]] = {
    "both": (both, set()),
    "none": (lambda dns: dns.add_address(CAPULET, "192.0.2.1"), {"dns-no-srv"}),
    "without direct TLS": (
        lambda dns: dns.add_srv(CAPULET, "xmpp.capulet.example", 5269),
        {"dns-no-direct-tls"},
    ),
    "direct TLS alone": (
        lambda dns: dns.add_srv(CAPULET, "xmpp.capulet.example", 5270, service=DIRECT),
        {"dns-direct-tls-only"},
    ),
    "no service at all": (lambda dns: dns.add_srv(CAPULET, ".", 0), {"dns-no-service"}),
    "no direct TLS, said so": (
        lambda dns: (
            dns.add_srv(CAPULET, "xmpp.capulet.example", 5269),
            dns.add_srv(CAPULET, ".", 0, service=DIRECT),
        ),
        {"dns-no-direct-tls"},
    ),
    "no service beside one": (
        lambda dns: (both(dns), dns.add_srv(CAPULET, ".", 0)),
        {"dns-dot-among-others"},
    ),
    "an address as target": (
        lambda dns: (both(dns), dns.add_srv(CAPULET, "192.0.2.7", 5269)),
        {"dns-srv-address"},
    ),
    "one of two questions fails": (
        lambda dns: (both(dns), dns.script(f"{DIRECT}.{CAPULET}", Fail("SERVFAIL"))),
        {"dns-service-failed", "dns-no-direct-tls"},
    ),
    "both fail": (lambda dns: dns.script(CAPULET, Fail("SERVFAIL")), {"dns-failed"}),
}


@pytest.mark.parametrize("name", SERVICES)
async def test_services_are_judged(name: str, probe: DnsProbe, dns: DnsServer) -> None:
    publish, expected = SERVICES[name]
    publish(dns)
    _, findings = await probe.targets(CAPULET)
    assert ids(findings) == expected


async def test_target_that_is_an_alias_is_told_with_its_name(probe, dns) -> None:
    dns.add_cname("xmpp.capulet.example", "host.example")
    dns.add_address("host.example", "192.0.2.1", "2001:db8::1")
    addresses, findings = await probe.addresses("xmpp.capulet.example", srv=True)
    assert set(addresses) == {"192.0.2.1", "2001:db8::1"}
    ((rule, text),) = [(finding.rule.id, finding.text) for finding in findings]
    assert (rule, text) == ("dns-srv-alias", "CNAME host.example")
    _, findings = await probe.addresses("xmpp.capulet.example", srv=False)
    assert findings == []  # the domain itself may be an alias


async def test_internationalized_domain_is_told_in_the_form_that_dns_takes(probe, dns) -> None:
    domain = Domain.parse("bücher.example")
    dns.add_srv(domain.a_label, "xmpp.example", 5269)
    _, findings = await probe.targets(domain)
    found = {finding.rule.id: finding for finding in findings}
    assert found["domain-idn"].text == "xn--bcher-kva.example"
    assert str(found["domain-idn"].place) == "bücher.example"


async def test_answers_that_take_long_are_told(probe, dns, resolver) -> None:
    times = iter([0.0, 3.0])
    slow = DnsProbe(resolver, lambda _: True, clock=lambda: next(times))
    both(dns)
    _, findings = await slow.targets(CAPULET)
    assert [(f.rule.id, f.text) for f in findings] == [("dns-slow", "3.0 s")]


# The servers of the zone, one by one


async def test_name_servers_that_agree_are_not_worth_a_word(probe, dns) -> None:
    both(dns)
    for name in ("ns1.example", "ns2.example"):
        dns.add("capulet.example", "NS", f"{name}.")
        dns.add_address(name, dns.address)
    _, findings = await probe.targets(CAPULET)
    assert findings == []


async def test_name_server_that_does_not_answer_is_lame(probe, dns) -> None:
    both(dns)
    dns.add("example", "NS", "ns1.example.")
    dns.add("capulet.example", "NS", "ns1.example.")
    dns.add("capulet.example", "NS", "dead.example.")
    dns.add("capulet.example", "NS", "nowhere.example.")
    dns.add_address("ns1.example", dns.address)
    dns.add_address("dead.example", fresh_address())
    _, findings = await probe.targets(CAPULET)
    assert ids(findings) == {"dns-lame"}
    assert [finding.place for finding in findings] == ["dead.example", "nowhere.example"]


async def test_name_servers_that_refuse_or_say_another_thing_are_told(probe, dns) -> None:
    both(dns)
    async with DnsServer(port=dns.port) as old, DnsServer(port=dns.port) as refusing:
        old.add_srv(CAPULET, "xmpp.capulet.example", 5269)
        refusing.script("example", Fail("REFUSED"))
        for name, server in (("ns1", dns), ("ns2", old), ("ns3", refusing)):
            dns.add("capulet.example", "NS", f"{name}.example.")
            dns.add_address(f"{name}.example", server.address)
        _, findings = await probe.targets(CAPULET)
    found = {finding.rule.id: finding for finding in findings}
    assert set(found) == {"dns-lame", "dns-inconsistent"}
    assert found["dns-lame"].place == "ns3.example"
    assert found["dns-inconsistent"].text == "ns1.example: 2 records; ns2.example: 1 records"


async def test_name_server_at_an_address_that_is_not_public_is_not_asked(resolver, dns) -> None:
    both(dns)
    async with DnsServer(port=dns.port) as inside:
        dns.add("capulet.example", "NS", "ns.example.")
        dns.add_address("ns.example", inside.address)
        careful = DnsProbe(resolver, lambda _: False, name_server_port=dns.port)
        await careful.targets(CAPULET)
        assert inside.queries == []


async def test_zone_is_the_closest_one_that_has_name_servers(probe, dns) -> None:
    domain = Domain.parse("rooms.capulet.example")
    dns.add_srv(domain, "xmpp.capulet.example", 5269)
    dns.add("capulet.example", "NS", "dead.example.")
    dns.add_address("dead.example", fresh_address())
    _, findings = await probe.targets(domain)
    assert ids(findings) == {"dns-lame", "dns-no-direct-tls"}


async def test_slow_name_server_does_not_hold_up_the_others(probe, dns) -> None:
    both(dns)
    async with DnsServer(port=dns.port) as slow:
        slow.script("example", Slow(1.0))
        for name, server in (("ns1", dns), ("ns2", slow)):
            dns.add("capulet.example", "NS", f"{name}.example.")
            dns.add_address(f"{name}.example", server.address)
        _, findings = await probe.targets(CAPULET)
    assert ids(findings) == {"dns-inconsistent"}  # it answers, with nothing
