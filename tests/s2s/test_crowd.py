"""A thousand hostile checks at once leave room for the honest one."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from scripted_authority import (
    DIALBACK,
    HEADER,
    Peer,
    ScriptedAuthority,
    answer,
    attribute,
    features,
)

from sidecar.jobs import Check, Evidence, Verdict
from sidecar.lab.dns import DnsServer
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.s2s.checker import Checker
from sidecar.s2s.resolver import Resolver

RIGHT, WRONG = DialbackKey.parse("b4835385"), DialbackKey.parse("00000000")
HONEST_IP, EVIL_NETWORK = "192.0.2.7", "198.51.100"
MONTAGUE = Domain.parse("montague.example")
HONEST = Check(
    pair=DomainPair(sender=Domain.parse("capulet.example"), target=MONTAGUE),
    stream=StreamId.parse("D60000229F"),
    key=RIGHT,
    ip=HONEST_IP,
)


async def honest_server(peer: Peer) -> None:
    await peer.header()
    peer.send(HEADER, features(DIALBACK))
    while True:
        request = await peer.verify()
        said = "valid" if f">{RIGHT.reveal()}<" in request else "invalid"
        peer.send(answer(said, stream=attribute(request, "id")))


async def tar_pit(peer: Peer) -> None:
    await peer.reader.read()


def own_name(number: int) -> Check:
    sender = Domain.parse(f"d{number}.evil.example")
    return replace(HONEST, pair=HONEST.pair._replace(sender=sender))


def claims_the_honest_name(number: int) -> Check:
    return replace(HONEST, stream=StreamId.parse(f"evil{number}"), key=WRONG)


def claims_it_with_the_very_stream_id(number: int) -> Check:
    return replace(HONEST, key=WRONG)


@pytest.mark.parametrize("idle_seconds", [0.0, 10.0])
@pytest.mark.parametrize(
    "hostile", [own_name, claims_the_honest_name, claims_it_with_the_very_stream_id]
)
async def test_honest_peer_is_verified_in_a_crowd(
    hostile, idle_seconds, dns: DnsServer, resolver: Resolver
) -> None:
    checker = Checker(resolver, allow_private_addresses=True, idle_seconds=idle_seconds)
    async with (
        ScriptedAuthority(honest_server) as authority,
        ScriptedAuthority(tar_pit) as tar,
    ):
        dns.add_srv("capulet.example", "xmpp.capulet.example", authority.port)
        dns.add_address("xmpp.capulet.example", authority.address)
        for number in range(1000):
            dns.add_srv(f"d{number}.evil.example", "tar.example", tar.port)
        dns.add_address("tar.example", tar.address)

        crowd = [
            asyncio.create_task(
                checker.check(replace(hostile(number), ip=f"{EVIL_NETWORK}.{number % 250}"))
            )
            for number in range(1000)
        ]
        await asyncio.sleep(0)
        assert await checker.check(HONEST, timeout_seconds=10) == Verdict.valid(Evidence.KEY)
        assert tar.connections <= 48
        for task in crowd:
            if hostile is own_name:
                task.cancel()
        done = await asyncio.gather(*crowd, return_exceptions=True)
        reasons = Counter(v.reason for v in done if isinstance(v, Verdict))
        # what becomes of the hostile ones is the machine's business, as long as it is not "valid"
        expected = {"too-many-checks", "answer-invalid", "address-busy", "dns-timeout"}
        assert set(reasons) <= expected
        assert reasons["too-many-checks"] >= 700
    await checker.close()
