"""The resolver against a real DNS server."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.lab.dns import DnsServer
from sidecar.lab.script import Fail, Silent, Slow, Truncate
from sidecar.names import Domain
from sidecar.s2s.dns_cache import Answer, DnsCache
from sidecar.s2s.failures import Failure, Reason
from sidecar.s2s.resolver import Resolver
from sidecar.s2s.srv import Target

CAPULET = Domain.parse("capulet.example")
DIRECT, PLAIN = "_xmpps-server._tcp", "_xmpp-server._tcp"


def reason(result: object) -> Reason:
    assert isinstance(result, Failure)
    return result.reason


async def test_both_services_are_asked_and_merged(resolver, dns):
    dns.add_srv(CAPULET, "plain.example", 5269, service=PLAIN, priority=2)
    dns.add_srv(CAPULET, "direct.example", 443, service=DIRECT, priority=1)
    assert await resolver.targets(CAPULET) == (
        Target("direct.example", 443, direct_tls=True),
        Target("plain.example", 5269),
    )


async def test_domain_itself_is_the_target_where_there_is_no_srv_record(resolver, dns):
    dns.add_address(CAPULET, "192.0.2.1")
    assert await resolver.targets(CAPULET) == (Target("capulet.example", 5269),)


async def test_names_are_asked_as_a_labels(resolver, dns):
    domain = Domain.parse("bücher.example")
    dns.add_srv("xn--bcher-kva.example", "host.example", 5269)
    assert await resolver.targets(domain) == (Target("host.example", 5269),)


async def test_dot_on_one_service_leaves_the_other(resolver, dns):
    dns.add_srv(CAPULET, ".", 0, service=PLAIN)
    dns.add_srv(CAPULET, "direct.example", 443, service=DIRECT)
    assert await resolver.targets(CAPULET) == (Target("direct.example", 443, direct_tls=True),)


async def test_dot_for_direct_tls_alone_does_not_forbid_the_fallback(resolver, dns):
    dns.add_srv(CAPULET, ".", 0, service=DIRECT)
    assert await resolver.targets(CAPULET) == (Target("capulet.example", 5269),)


@pytest.mark.parametrize("target", [".", "127.0.0.1", "10.0x1"])
async def test_target_that_is_no_name_is_no_service_and_no_fallback(target, resolver, dns):
    dns.add_srv(CAPULET, target, 5269)
    dns.add_address(CAPULET, "192.0.2.1")
    assert reason(await resolver.targets(CAPULET)) is Reason.DNS_NO_SERVICE


async def test_one_service_that_fails_leaves_the_other(resolver, dns):
    dns.script(f"{DIRECT}.{CAPULET}", Fail("SERVFAIL"))
    dns.add_srv(CAPULET, "plain.example", 5269, service=PLAIN)
    assert await resolver.targets(CAPULET) == (Target("plain.example", 5269),)


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTIMP", "FORMERR"])
async def test_failure_is_told_apart_from_absence(rcode, resolver, dns):
    dns.script(CAPULET, Fail(rcode))
    assert reason(await resolver.targets(CAPULET)) is Reason.DNS_SERVFAIL
    assert reason(await resolver.addresses(CAPULET)) is Reason.DNS_SERVFAIL


async def test_server_that_was_quick_may_be_slow_once(dns):
    """c-ares gives a server that answers quickly a quarter of a second, doubled at each try."""
    resolver = Resolver([dns.nameserver])
    for number in range(20):
        dns.add_address(f"quick-{number}.example", "192.0.2.1")
        assert await resolver.addresses(f"quick-{number}.example") == ("192.0.2.1",)
    dns.add_address("slow.example", "192.0.2.2")
    dns.script("slow.example", Slow(0.9))
    assert await resolver.addresses("slow.example") == ("192.0.2.2",)
    await resolver.close()


async def test_silence_is_a_timeout(dns):
    dns.script(CAPULET, Silent())
    resolver = Resolver([dns.nameserver], timeout_seconds=0.3)
    assert reason(await resolver.targets(CAPULET)) is Reason.DNS_TIMEOUT
    assert reason(await resolver.addresses(CAPULET)) is Reason.DNS_TIMEOUT
    await resolver.close()


async def test_addresses_of_both_families_by_turns(resolver, dns):
    dns.add_address("host.example", "192.0.2.1", "192.0.2.2", "2001:db8::1")
    found = await resolver.addresses("host.example")
    assert found[0] == "2001:db8::1"
    assert sorted(found) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]


async def test_addresses_behind_an_alias(resolver, dns):
    dns.add_cname("alias.example", "host.example")
    dns.add_address("host.example", "192.0.2.1")
    assert await resolver.addresses("alias.example") == ("192.0.2.1",)


async def test_name_without_addresses(resolver, dns):
    dns.add("host.example", "TXT", "x")
    assert reason(await resolver.addresses("host.example")) is Reason.DNS_NO_ADDRESS
    assert reason(await resolver.addresses("nowhere.example")) is Reason.DNS_NO_ADDRESS


async def test_one_family_is_enough_when_the_other_fails(dns):
    class V4Only(Resolver):
        async def _lookup(self, *questions):
            found = await super()._lookup(*questions)
            return [
                Failure(Reason.DNS_SERVFAIL) if question[1] == "AAAA" else result
                for question, result in zip(questions, found, strict=True)
            ]

    resolver = V4Only([dns.nameserver])
    dns.add_address("host.example", "192.0.2.1")
    assert await resolver.addresses("host.example") == ("192.0.2.1",)
    await resolver.close()


async def test_literal_is_asked_in_dns_and_never_taken_as_it_is(resolver, dns):
    assert reason(await resolver.addresses("127.0.0.1")) is Reason.DNS_NO_ADDRESS
    assert dns.asked("127.0.0.1", "A")


async def test_answer_too_long_for_udp_comes_over_tcp(resolver, dns):
    dns.script(CAPULET, Truncate())
    for number in range(100):
        dns.add_srv(CAPULET, f"host{number}.a-rather-long-name.example", 5269)
    targets = await resolver.targets(CAPULET)
    assert len(targets) == 8
    assert {query.transport for query in dns.asked(f"{PLAIN}.{CAPULET}")} == {"udp", "tcp"}


async def test_next_nameserver_is_asked_when_one_is_down(dns):
    async with DnsServer() as other:
        other.add_srv(CAPULET, "host.example", 5269)
        down = dns.nameserver
        await dns.__aexit__(None, None, None)
        resolver = Resolver([down, other.nameserver])
        assert await resolver.targets(CAPULET) == (Target("host.example", 5269),)
        await resolver.close()
        await dns.__aenter__()


# Memory


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


@pytest.fixture
def looked_up() -> list[str]:
    """The types of the questions that were asked; c-ares may remember the answers as well."""
    return []


@pytest.fixture
async def remembering(dns: DnsServer, clock: list[float], looked_up: list[str]):
    resolver = Resolver(
        [dns.nameserver],
        clock=lambda: clock[0],
        on_lookup=lambda record_type, *_: looked_up.append(record_type),
    )
    yield resolver
    await resolver.close()


async def test_records_are_believed_as_long_as_their_ttl(remembering, dns, clock, looked_up):
    dns.ttl_seconds = 60
    dns.add_address("xmpp.example", "192.0.2.1")
    dns.add("xmpp.example", "AAAA", "2001:db8::1")
    for _ in range(3):
        assert await remembering.addresses("xmpp.example") == ("2001:db8::1", "192.0.2.1")
    assert looked_up == ["AAAA", "A"]
    clock[0] += 61
    await remembering.addresses("xmpp.example")
    assert looked_up == ["AAAA", "A"] * 2


async def test_alias_that_is_good_for_less_ends_the_belief(remembering, dns, clock, looked_up):
    dns.ttl_seconds = 60
    dns.add_address("xmpp.example", "192.0.2.1")
    dns.ttl_seconds = 5
    dns.add_cname("alias.example", "xmpp.example")
    assert await remembering.addresses("alias.example") == ("192.0.2.1",)
    clock[0] += 6
    await remembering.addresses("alias.example")
    assert looked_up.count("A") == 2


async def test_records_without_ttl_are_asked_for_each_time(remembering, dns):
    dns.add_address("xmpp.example", "192.0.2.1")
    for _ in range(2):
        await remembering.addresses("xmpp.example")
    assert len(dns.asked("xmpp.example", "A")) == 2


async def test_absence_is_believed_for_seconds(remembering, dns, clock):
    for _ in range(2):
        assert reason(await remembering.addresses("xmpp.example")) is Reason.DNS_NO_ADDRESS
    assert len(dns.asked("xmpp.example", "A")) == 1
    dns.add_address("xmpp.example", "192.0.2.1")
    clock[0] += 6
    assert await remembering.addresses("xmpp.example") == ("192.0.2.1",)


async def test_failure_is_believed_for_seconds(remembering, dns, clock):
    dns.script("xmpp.example", Fail("SERVFAIL"))
    await remembering.addresses("xmpp.example")
    asked = len(dns.asked("xmpp.example"))
    assert reason(await remembering.addresses("xmpp.example")) is Reason.DNS_SERVFAIL
    assert len(dns.asked("xmpp.example")) == asked
    dns.remove("xmpp.example")
    dns.add_address("xmpp.example", "192.0.2.1")
    clock[0] += 3
    assert await remembering.addresses("xmpp.example") == ("192.0.2.1",)


async def test_question_that_is_being_asked_is_not_asked_again(remembering, dns):
    dns.script("xmpp.example", Slow(0.1))
    dns.add_address("xmpp.example", "192.0.2.1")
    found = await asyncio.gather(*(remembering.addresses("xmpp.example") for _ in range(50)))
    assert found == [("192.0.2.1",)] * 50
    assert len(dns.asked("xmpp.example", "A")) == 1


async def test_cancelled_lookup_leaves_the_others_their_answer(remembering, dns):
    dns.script("xmpp.example", Slow(0.1))
    dns.add_address("xmpp.example", "192.0.2.1")
    first = asyncio.create_task(remembering.addresses("xmpp.example"))
    second = asyncio.create_task(remembering.addresses("xmpp.example"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == ("192.0.2.1",)


def test_cache_has_bounds(clock):
    cache = DnsCache(lambda: clock[0])
    loop = asyncio.new_event_loop()

    async def fill() -> None:
        for number in range(20_000):
            future: asyncio.Future[Answer] = loop.create_future()
            future.set_result(Answer((number,), 60.0))
            await cache.ask((f"{number}.example", "A"), lambda future=future: future)

    loop.run_until_complete(fill())
    loop.close()
    known = [n for n in range(20_000) if cache.get((f"{n}.example", "A")) is not None]
    assert 19_999 in known
    assert 0 not in known
    assert len(known) <= 8192
