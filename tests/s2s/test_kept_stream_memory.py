"""What streams kept for more questions cost: so many, and so much memory each, whatever they do.

The server is a process of its own, so that only our side of a stream is measured.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from checks import check_of
from scripted_authority import (
    DIALBACK,
    HEADER,
    STARTTLS,
    Peer,
    ScriptedAuthority,
    answer,
    attribute,
    features,
    server_context,
)

from sidecar.jobs import Outcome
from sidecar.lab.certificates import self_signed
from sidecar.lab.dns import DnsServer
from sidecar.s2s.checker import Checker
from sidecar.s2s.resolver import Resolver

STREAMS = 100
MAX_KIB = {"quiet": 100, "half an element": 120}
"""For each stream, in TLS. Measured: docs/checking.md."""


def serve(pipe: Connection, after: bytes) -> None:
    """Call every key valid, in TLS, and go on with `after`, until the pipe says so."""

    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(STARTTLS))
        await peer.start_tls()
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        request = await peer.verify()
        names = {"sender": attribute(request, "to"), "target": attribute(request, "from")}
        peer.send(answer("valid", stream=attribute(request, "id"), **names))
        peer.writer.write(after)
        await peer.reader.read()

    async def run() -> None:
        with tempfile.TemporaryDirectory() as directory:
            context = server_context(self_signed("capulet.example"), Path(directory))
            async with ScriptedAuthority(script, context=context) as authority:
                pipe.send((authority.address, authority.port))
                await asyncio.to_thread(pipe.recv)

    asyncio.run(run())


def memory_kib() -> int:
    """Of this process alone, with its part of what is shared."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    (pss,) = [line.split()[1] for line in lines if line.startswith("Pss:")]
    return int(pss)


AFTER = {"quiet": b"", "half an element": b"<db:verify a='" + b"x" * 9_000 + b"'>" + b"y" * 5_000}


@pytest.mark.parametrize("what", AFTER)
async def test_kept_stream_costs_little(what: str, dns: DnsServer, resolver: Resolver) -> None:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(there, AFTER[what]), daemon=True
    )
    process.start()
    checker = Checker(resolver, allow_private_addresses=True, idle_seconds=60.0)
    try:
        address, port = await asyncio.to_thread(here.recv)

        async def verify(name: str) -> None:
            dns.add_srv(name, f"xmpp.{name}", port)
            dns.add_address(f"xmpp.{name}", address)
            assert (await checker.check(check_of(name))).outcome is Outcome.VALID

        for number in range(20):
            await verify(f"warm{number}.example")
        gc.collect()
        before = memory_kib()
        for number in range(STREAMS):
            await verify(f"d{number}.example")
        gc.collect()
        assert (memory_kib() - before) / STREAMS < MAX_KIB[what]
    finally:
        await checker.close()
        here.send("end")
        await asyncio.to_thread(process.join)


async def test_no_more_streams_are_kept_than_allowed(dns, resolver, monkeypatch) -> None:
    monkeypatch.setattr("sidecar.s2s.pool._MAX_CHANNELS", 3)
    ended: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        request = await peer.verify()
        sender = attribute(request, "to")
        peer.send(answer("valid", sender=sender))
        await peer.reader.read()
        ended.append(sender)

    keeping = Checker(resolver, allow_private_addresses=True, idle_seconds=60.0)
    async with ScriptedAuthority(script) as authority:
        for number in range(5):
            name = f"d{number}.example"
            dns.add_srv(name, f"xmpp.{name}", authority.port)
            dns.add_address(f"xmpp.{name}", authority.address)
            assert (await keeping.check(check_of(name))).outcome is Outcome.VALID
        async with asyncio.timeout(10):
            while len(ended) < 2:
                await asyncio.sleep(0)
        assert ended == ["d3.example", "d4.example"]
        await keeping.close()
