from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import pytest

from sidecar.lab.dns import DnsServer, Query
from sidecar.lab.script import Fail, Lame, Silent, Slow, Truncate


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with DnsServer() as server:
        server.add_srv("capulet.example", "xmpp.capulet.example", 20001, priority=1, weight=2)
        server.add_address("xmpp.capulet.example", "127.64.1.2", "::1")
        server.add_cname("alias.capulet.example", "xmpp.capulet.example")
        yield server


async def ask(
    server: DnsServer, name: str, record_type: str, *, tcp: bool = False, timeout: float = 10
) -> dns.message.Message:
    query = dns.message.make_query(name, record_type)
    exchange = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await exchange(query, server.address, port=server.port, timeout=timeout)


def records(response: dns.message.Message) -> list[str]:
    return [record.to_text() for rrset in response.answer for record in rrset]


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
async def test_records_are_answered_with_authority(server: DnsServer, tcp: bool) -> None:
    response = await ask(server, "_xmpp-server._tcp.CAPULET.example", "SRV", tcp=tcp)
    assert records(response) == ["1 2 20001 xmpp.capulet.example."]
    assert response.flags & dns.flags.AA
    assert records(await ask(server, "xmpp.capulet.example", "A", tcp=tcp)) == ["127.64.1.2"]
    assert records(await ask(server, "xmpp.capulet.example", "AAAA", tcp=tcp)) == ["::1"]
    assert server.asked("_xmpp-server._tcp.capulet.example") == [
        Query("_xmpp-server._tcp.capulet.example", "SRV", "tcp" if tcp else "udp")
    ]


async def test_alias_is_followed(server: DnsServer) -> None:
    response = await ask(server, "alias.capulet.example", "A")
    assert records(response) == ["xmpp.capulet.example.", "127.64.1.2"]


@pytest.mark.parametrize(
    ("name", "record_type", "rcode"),
    [
        ("nobody.example", "A", dns.rcode.NXDOMAIN),
        ("_xmpps-server._tcp.capulet.example", "SRV", dns.rcode.NXDOMAIN),
        ("xmpp.capulet.example", "SRV", dns.rcode.NOERROR),
        ("capulet.example", "A", dns.rcode.NOERROR),
    ],
)
async def test_absent_name_is_told_from_absent_record(
    server: DnsServer, name: str, record_type: str, rcode: dns.rcode.Rcode
) -> None:
    response = await ask(server, name, record_type)
    assert (response.rcode(), records(response)) == (rcode, [])
    assert [rrset.rdtype.name for rrset in response.authority] == ["SOA"]


async def test_records_change_while_the_server_runs(server: DnsServer) -> None:
    server.remove("xmpp.capulet.example", "A")
    assert records(await ask(server, "xmpp.capulet.example", "A")) == []
    server.add_address("xmpp.capulet.example", "127.64.1.3")
    server.add_address("xmpp.capulet.example", "127.64.1.4")
    answered = records(await ask(server, "xmpp.capulet.example", "A"))
    assert sorted(answered) == ["127.64.1.3", "127.64.1.4"]


async def test_scripted_failure_covers_the_names_below_until_removed(server: DnsServer) -> None:
    server.script("capulet.example", Fail("SERVFAIL"))
    failed = await ask(server, "xmpp.capulet.example", "A")
    assert (failed.rcode(), records(failed)) == (dns.rcode.SERVFAIL, [])
    server.remove("capulet.example")
    assert records(await ask(server, "xmpp.capulet.example", "A")) == ["127.64.1.2"]


async def test_lame_server_gives_neither_answer_nor_authority(server: DnsServer) -> None:
    server.script("capulet.example", Lame())
    response = await ask(server, "xmpp.capulet.example", "A")
    assert not response.answer and not response.authority
    assert not response.flags & dns.flags.AA


async def test_silent_server_answers_nothing(server: DnsServer) -> None:
    server.script("capulet.example", Silent())
    with pytest.raises(dns.exception.Timeout):
        await ask(server, "xmpp.capulet.example", "A", timeout=0.1)
    assert server.asked("xmpp.capulet.example", "A")


async def test_slow_answer_does_not_hold_up_others(server: DnsServer) -> None:
    server.script("capulet.example", Slow(seconds=0.3))
    server.add_address("quick.example", "127.64.1.9")
    slow = asyncio.create_task(ask(server, "xmpp.capulet.example", "A"))
    assert records(await ask(server, "quick.example", "A")) == ["127.64.1.9"]
    assert not slow.done()
    assert records(await slow) == ["127.64.1.2"]


async def test_truncated_answer_is_whole_over_tcp(server: DnsServer) -> None:
    server.script("capulet.example", Truncate())
    short = await ask(server, "xmpp.capulet.example", "A")
    assert short.flags & dns.flags.TC and not short.answer
    assert records(await ask(server, "xmpp.capulet.example", "A", tcp=True)) == ["127.64.1.2"]


async def test_answer_too_big_for_udp_is_truncated(server: DnsServer) -> None:
    server.add_address("big.example", *(f"127.65.0.{n}" for n in range(1, 200)))
    assert (await ask(server, "big.example", "A")).flags & dns.flags.TC
    assert len(records(await ask(server, "big.example", "A", tcp=True))) == 199


async def test_literal_view_shows_addresses_as_targets(server: DnsServer) -> None:
    view = await server.literal_view()
    response = await ask(view, "_xmpp-server._tcp.capulet.example", "SRV")
    assert records(response) == ["1 2 20001 127.64.1.2."]
    server.add_srv("later.example", "nowhere.example", 1)
    response = await ask(view, "_xmpp-server._tcp.later.example", "SRV")
    assert records(response) == ["0 0 1 nowhere.example."]
