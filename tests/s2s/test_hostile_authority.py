"""Servers that flood, drip or point elsewhere: each costs little, and none gets anywhere."""

from __future__ import annotations

import asyncio

import pytest
from checks import CHECK, TIMEOUT, publish
from scripted_authority import (
    DIALBACK,
    HEADER,
    STARTTLS,
    Peer,
    Script,
    ScriptedAuthority,
    answer,
    features,
)

from sidecar.jobs import Condition, Outcome, Verdict
from sidecar.lab.dns import DnsServer
from sidecar.protocol.verify_stream import VerifyStream
from sidecar.s2s.checker import Checker
from sidecar.s2s.connection import VerifyConnection
from sidecar.s2s.resolver import Resolver
from sidecar.s2s.tls import client_context

REFUSED = Verdict.error(Condition.REMOTE_CONNECTION_FAILED, "address-refused")


# Eight megabytes of something

FLOODS = {
    "one element": "<db:verify>" + "x" * 8_000_000,
    "one attribute": "<a b='" + "x" * 8_000_000,
    "many attributes": "<a " + " ".join(f"a{n}='b'" for n in range(800_000)),
    "depth": "<a>" * 2_700_000,
    "elements in one": "<a>" + "<b/>" * 2_000_000,
    "elements": "<message/>" * 800_000,
    "white space": " " * 8_000_000,
    "answers to others": answer("valid", stream="other") * 80_000,
}


@pytest.mark.parametrize("what", FLOODS)
async def test_flood_ends_the_stream_early(what, resolver: Resolver, dns: DnsServer) -> None:
    """We close after a fraction of it, and the question has failed."""
    taken = 0

    async def script(peer: Peer) -> None:
        nonlocal taken
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        await peer.verify()
        data = FLOODS[what].encode()
        for place in range(0, len(data), 65_536):
            peer.writer.write(data[place : place + 65_536])
            await peer.writer.drain()
            taken = place

    checker = Checker(resolver, allow_private_addresses=True)
    async with ScriptedAuthority(script) as authority:
        publish(dns, authority)
        verdict = await checker.check(CHECK, timeout_seconds=10)
    assert verdict == Verdict.error(TIMEOUT, "stream-violation")
    assert taken < 8_000_000 - 65_536


async def test_tls_that_carries_next_to_nothing_ends_the_stream(resolver, dns, tls) -> None:
    """A record for each byte of white space: TLS itself is bounded, not only what is in it."""

    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(STARTTLS, DIALBACK))
        await peer.start_tls()
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        await peer.verify()
        for _ in range(6_000):
            peer.send(" ")
        peer.send(answer("valid"))
        await peer.reader.read()

    checker = Checker(resolver, allow_private_addresses=True)
    async with ScriptedAuthority(script, context=tls) as authority:
        publish(dns, authority)
        verdict = await checker.check(CHECK, timeout_seconds=10)
    assert (verdict.outcome, verdict.reason) == (Outcome.ERROR, "tls-failed")


@pytest.mark.parametrize("way", ["close", "abandon"])
async def test_server_that_reads_nothing_does_not_keep_our_connection(way: str) -> None:
    lost = asyncio.Event()

    class Connection(VerifyConnection):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.set()

    def make() -> Connection:
        local, remote = CHECK.pair.target, CHECK.pair.sender
        return Connection(
            VerifyStream(local=local, remote=remote, encrypted=False, tls_required=False),
            domain=remote,
            context=client_context(),
            direct_tls=False,
            on_event=lambda _: None,
        )

    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await lost.wait()

    async with ScriptedAuthority(script) as authority:
        loop = asyncio.get_running_loop()
        transport, connection = await loop.create_connection(
            make, authority.address, authority.port
        )
        while not transport.get_write_buffer_size():
            transport.write(bytes(1 << 20))  # more than the kernel takes
        getattr(connection, way)()
        async with asyncio.timeout(30):
            await lost.wait()


# One byte at a time, for ever


def dripping(*, after: str) -> Script:
    async def script(peer: Peer) -> None:
        await peer.header()
        if after == "question":
            peer.send(HEADER, features(DIALBACK))
            await peer.verify()
        text = answer("valid") if after == "question" else HEADER
        for character in text[:-1]:
            peer.send(character)
            await asyncio.sleep(0.02)
        await peer.reader.read()

    return script


@pytest.mark.parametrize(
    ("after", "reason"), [("question", "answer-timeout"), ("header", "stream-timeout")]
)
async def test_dripping_server_does_not_move_the_deadline(after, reason, resolver, dns) -> None:
    checker = Checker(resolver, allow_private_addresses=True)
    async with ScriptedAuthority(dripping(after=after)) as authority:
        publish(dns, authority)
        verdict = await checker.check(CHECK, timeout_seconds=0.5)
    assert verdict == Verdict.error(TIMEOUT, reason)


# Addresses that are not public, by every way there


async def honest(peer: Peer) -> None:
    await peer.header()
    peer.send(HEADER, features(DIALBACK))
    await peer.verify()
    peer.send(answer("valid"))
    await peer.reader.read()


@pytest.fixture
async def inside(dns: DnsServer):
    """A server on loopback that would call every key valid."""
    async with ScriptedAuthority(honest) as authority:
        yield authority


def v4_in_v6(prefix: str, address: str) -> str:
    first, second, third, fourth = (int(part) for part in address.split("."))
    return f"{prefix}{first << 8 | second:x}:{third << 8 | fourth:x}"


WAYS = {
    "A": lambda dns, ip: dns.add_address("xmpp.capulet.example", ip),
    "IPv4-mapped": lambda dns, ip: dns.add_address("xmpp.capulet.example", v4_in_v6("::ffff:", ip)),
    "NAT64": lambda dns, ip: dns.add_address("xmpp.capulet.example", v4_in_v6("64:ff9b::", ip)),
    "6to4": lambda dns, ip: dns.add_address("xmpp.capulet.example", v4_in_v6("2002:", ip) + "::1"),
    "IPv4-compatible": lambda dns, ip: dns.add_address("xmpp.capulet.example", v4_in_v6("::", ip)),
    "another one beside it": lambda dns, ip: dns.add_address(
        "xmpp.capulet.example", ip, "10.0.0.1"
    ),
    "CNAME": lambda dns, ip: (
        dns.add_cname("xmpp.capulet.example", "alias.example"),
        dns.add_cname("alias.example", "inside.example"),
        dns.add_address("inside.example", ip),
    ),
    "this host": lambda dns, ip: dns.add_address("xmpp.capulet.example", "0.0.0.0", "::"),
}


@pytest.mark.parametrize("way", WAYS)
async def test_server_that_is_not_public_is_not_reached(way, inside, dns, resolver) -> None:
    dns.add_srv("capulet.example", "xmpp.capulet.example", inside.port)
    WAYS[way](dns, inside.address)
    assert await Checker(resolver).check(CHECK, timeout_seconds=10) == REFUSED
    assert inside.connections == 0


async def test_second_lookup_that_answers_differently_is_judged_anew(
    inside, dns, resolver, monkeypatch
) -> None:
    """First a public address, where nobody is; then one that is not public."""
    dns.add_srv("capulet.example", "xmpp.capulet.example", inside.port)
    dns.add_address("xmpp.capulet.example", "8.8.8.8")
    dialled: list[str] = []

    async def nobody(address: str, port: int, allowed: object) -> object:
        from sidecar.s2s.failures import Failure, Reason

        dialled.append(address)
        return Failure(Reason.CONNECT_UNREACHABLE)

    monkeypatch.setattr("sidecar.s2s.dial._connect", nobody)
    checker = Checker(resolver)
    verdict = await checker.check(CHECK, timeout_seconds=10)
    assert verdict.reason == "connect-unreachable"
    monkeypatch.undo()
    dns.remove("xmpp.capulet.example")
    dns.add_address("xmpp.capulet.example", inside.address)
    assert await checker.check(CHECK, timeout_seconds=10) == REFUSED
    assert dialled == ["8.8.8.8"]
    assert inside.connections == 0


async def test_open_stream_is_lent_to_nobody_whom_dns_does_not_send_there(
    inside, dns, resolver
) -> None:
    """An address that may be dialled is asked for each check, also where a stream is open."""
    checker = Checker(resolver, allow_private_addresses=True, idle_seconds=10.0)
    publish(dns, inside)
    assert (await checker.check(CHECK, timeout_seconds=10)).outcome.value == "valid"
    dns.remove("_xmpp-server._tcp.capulet.example")
    dns.add_srv("capulet.example", ".", 0)
    verdict = await checker.check(CHECK, timeout_seconds=10)
    assert verdict.reason == "dns-no-service"
    await checker.close()
