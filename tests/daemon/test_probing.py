"""Probes by the daemon: a few at once, keys from its engine, forgotten when the probe is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sidecar.config import CheckConfig, Config
from sidecar.daemon.probing import AT_ONCE, Probing
from sidecar.jobs import Condition, Issue, Verdict
from sidecar.lab.addresses import fresh_address
from sidecar.lab.dns import DnsServer
from sidecar.lab.script import Silent
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId

CAPULET, MONTAGUE = Domain.parse("capulet.example"), Domain.parse("montague.example")
HEADER = (
    "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' "
    "xmlns:stream='http://etherx.jabber.org/streams' id='peer1'>"
)
VALID = "<db:result from='capulet.example' to='montague.example' type='valid'/>"


class Daemon:
    """An engine that gives `answer` to an issue, and the key service that is told of its end."""

    def __init__(self, answer: DialbackKey | Verdict) -> None:
        self._answer = answer
        self.issued: list[Issue] = []
        self.ended: list[tuple[DomainPair, StreamId]] = []

    async def answer(self, job: Issue, *, timeout_seconds: float) -> DialbackKey | Verdict:
        self.issued.append(job)
        return self._answer

    async def end(self, ended: list[tuple[DomainPair, StreamId]]) -> None:
        self.ended += ended

    def probing(self, dns: DnsServer) -> Probing:
        check = CheckConfig(nameservers=(dns.nameserver,), allow_private_addresses=True)
        same: Any = self
        return Probing(Config(check=check, link=()), same, same)


@pytest.fixture
async def peer() -> AsyncIterator[DnsServer]:
    """A legacy server that takes every key, and DNS that names it."""
    address = fresh_address()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b" version='1.0'>")
        writer.write(HEADER.encode())
        if b"</db:result>" in await reader.read(1000):
            writer.write(VALID.encode())
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, address, 0)
    async with DnsServer() as dns, server:
        port = server.sockets[0].getsockname()[1]
        dns.add_srv(CAPULET, "xmpp.capulet.example", port)
        dns.add_address("xmpp.capulet.example", address)
        yield dns


async def test_our_domain_is_proven_with_a_key_of_the_engine(peer: DnsServer) -> None:
    daemon = Daemon(DialbackKey.parse("b483"))
    report = await daemon.probing(peer).probe(CAPULET, MONTAGUE)
    assert report is not None
    assert report.targets[0].connections[0].dialback_result == "valid"
    (job,) = daemon.issued
    assert job.pair == DomainPair(sender=MONTAGUE, target=CAPULET)
    assert (job.stream, job.encrypted) == (StreamId.parse("peer1"), False)
    assert daemon.ended == [(job.pair, job.stream)]


async def test_no_key_is_a_finding_with_the_reason(peer: DnsServer) -> None:
    daemon = Daemon(Verdict.error(Condition.POLICY_VIOLATION, "encryption-required"))
    report = await daemon.probing(peer).probe(CAPULET, MONTAGUE)
    assert report is not None and report.failed
    found = {finding.rule: finding.text for finding in report.findings}
    assert found["key-not-issued"] == "encryption-required"
    assert daemon.ended == []


async def test_without_a_domain_of_ours_no_key_is_asked_for(peer: DnsServer) -> None:
    daemon = Daemon(DialbackKey.parse("b483"))
    report = await daemon.probing(peer).probe(CAPULET, None)
    assert report is not None and not report.failed
    assert daemon.issued == []


async def test_few_probes_run_at_once(peer: DnsServer) -> None:
    peer.script("verona.example", Silent())
    probing = Daemon(DialbackKey.parse("b483")).probing(peer)
    running = [
        asyncio.create_task(probing.probe(Domain.parse("verona.example"), None))
        for _ in range(AT_ONCE)
    ]
    await asyncio.sleep(0)
    assert await probing.probe(CAPULET, None) is None
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert await probing.probe(CAPULET, None) is not None
