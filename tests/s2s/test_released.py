"""What is over is gone at once: nothing of it waits for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import Iterator

import pytest
from checks import CHECK, publish
from scripted_authority import (
    DIALBACK,
    HEADER,
    STARTTLS,
    Peer,
    ScriptedAuthority,
    answer,
    features,
)

from sidecar.jobs import Outcome
from sidecar.lab.dns import DnsServer
from sidecar.protocol.authority_stream import AuthorityStream
from sidecar.protocol.verify_stream import VerifyStream
from sidecar.s2s.checker import Checker
from sidecar.s2s.resolver import Resolver


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive(name: str) -> int:
    return sum(type(each).__name__ == name for each in gc.get_objects())


@pytest.mark.parametrize("idle_seconds", [0, 0.2])
@pytest.mark.parametrize("encrypted", [False, True])
async def test_channel_and_parser_end_with_the_connection(
    dns: DnsServer,
    resolver: Resolver,
    tls: ssl.SSLContext,
    no_collector: None,
    encrypted: bool,
    idle_seconds: float,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.header()
        if encrypted:
            peer.send(HEADER, features(STARTTLS))
            await peer.start_tls()
            await peer.header()
        peer.send(HEADER, features(DIALBACK))
        await peer.verify()
        peer.send(answer("valid"))

    checker = Checker(resolver, allow_private_addresses=True, idle_seconds=idle_seconds)
    before = alive("Channel"), alive("xmlparser"), alive("TlsLayer")
    async with ScriptedAuthority(script, context=tls if encrypted else None) as authority:
        publish(dns, authority)
        for _ in range(3):
            verdict = await checker.check(CHECK)
            assert verdict.outcome is Outcome.VALID
        async with asyncio.timeout(5):
            while (alive("Channel"), alive("xmlparser"), alive("TlsLayer")) != before:
                await asyncio.sleep(0.01)


def test_violation_leaves_nothing_to_the_collector(no_collector: None) -> None:
    before = alive("xmlparser"), alive("traceback")
    for data in (b"<a><b></a>", b"\xff", b"<!DOCTYPE a>"):
        verify = VerifyStream(local=CHECK.pair.target, remote=CHECK.pair.sender)
        authority = AuthorityStream(speaks_for=lambda _: True, new_id=lambda: CHECK.stream)
        for stream in (verify, authority):
            stream.receive_data(data)
            assert stream.closed
            stream.release()
    del verify, authority, stream
    assert (alive("xmlparser"), alive("traceback")) == before
