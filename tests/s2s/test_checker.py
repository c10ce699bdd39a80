"""The checker against real sockets, real TLS and real DNS answers."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from scripted_authority import (
    BARE_HEADER,
    DIALBACK,
    HEADER,
    LEGACY_HEADER,
    STARTTLS,
    Peer,
    Script,
    ScriptedAuthority,
    answer,
    attribute,
    dialback_error,
    features,
    server_context,
    stream_error,
)

from sidecar.jobs import Check, Condition, Evidence, Outcome, Verdict
from sidecar.lab.certificates import self_signed
from sidecar.lab.dns import DnsServer
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.s2s.checker import Checker
from sidecar.s2s.resolver import Resolver

KEY = "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3"
CHECK = Check(
    pair=DomainPair(
        sender=Domain.parse("capulet.example"), target=Domain.parse("montague.example")
    ),
    stream=StreamId.parse("D60000229F"),
    key=DialbackKey.parse(KEY),
)
VALID = Verdict.valid(Evidence.KEY)


@pytest_asyncio.fixture
async def dns() -> AsyncIterator[DnsServer]:
    async with DnsServer() as server:
        yield server


@pytest_asyncio.fixture
async def checker(dns: DnsServer) -> AsyncIterator[Checker]:
    checker = Checker(
        Resolver([dns.nameserver], timeout_seconds=2.0),
        allow_private_addresses=True,
        connect_seconds=1.0,
        negotiation_seconds=1.0,
    )
    yield checker
    await checker.close()


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return server_context(self_signed("capulet.example"), tmp_path_factory.mktemp("tls"))


def publish(dns: DnsServer, *authorities: ScriptedAuthority, service: str = "_xmpp-server") -> None:
    for place, authority in enumerate(authorities):
        name = f"host{place}{service.strip('_')}.capulet.example"
        dns.add_srv(
            "capulet.example", name, authority.port, service=f"{service}._tcp", priority=place
        )
        dns.add_address(name, authority.address)


def after_verify(*replies: str) -> Script:
    """A server on cleartext that says `replies` when it is asked."""

    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        await peer.verify()
        peer.send(*replies)
        await peer.reader.read()

    return script


def after_header(*replies: str) -> Script:
    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(*replies)
        await peer.reader.read()

    return script


async def honest(peer: Peer) -> None:
    """A server that knows one key."""
    await peer.header()
    peer.send(HEADER, features(DIALBACK))
    request = await peer.verify()
    good = f">{KEY}<" in request and attribute(request, "id") == "D60000229F"
    peer.send(
        answer(
            "valid" if good else "invalid",
            sender=attribute(request, "to"),
            target=attribute(request, "from"),
            stream=attribute(request, "id"),
        )
    )
    await peer.reader.read()


async def tls_then_honest(peer: Peer) -> None:
    await peer.header()
    peer.send(HEADER, features(STARTTLS, DIALBACK))
    await peer.start_tls()
    await honest(peer)


async def test_key_that_the_authority_confirms_is_valid(checker: Checker, dns: DnsServer) -> None:
    async with ScriptedAuthority(honest) as authority:
        publish(dns, authority)
        assert await checker.check(CHECK, timeout_seconds=5) == VALID


async def test_starttls_is_used_when_offered(
    checker: Checker, dns: DnsServer, tls: ssl.SSLContext
) -> None:
    async with ScriptedAuthority(tls_then_honest, context=tls) as authority:
        publish(dns, authority)
        assert await checker.check(CHECK, timeout_seconds=5) == VALID


async def test_direct_tls_is_used_where_srv_says_so(
    checker: Checker, dns: DnsServer, tls: ssl.SSLContext
) -> None:
    async with ScriptedAuthority(honest, context=tls, direct_tls=True) as authority:
        publish(dns, authority, service="_xmpps-server")
        assert await checker.check(CHECK, timeout_seconds=5) == VALID
