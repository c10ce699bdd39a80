"""What is measured, by name: each load runs against one contender and gives samples."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.contenders import Contender
from bench.outbound import IssuedKey
from bench.peers import OUTBOUND_ZONE, Peers
from bench.sample import Sample, measured, repeat
from bench.verify import VerifyLoad

AT_ONCE = 32
OUTSTANDING = 64
VERIFY_STREAMS = 8

INBOUND = "inbound handshakes, {} at once"
OUTBOUND = "outbound handshakes, {} at once"
VERIFY = f"db:verify, {OUTSTANDING} outstanding"
VERIFY_AGAIN = f"db:verify repeated, {OUTSTANDING} outstanding"

Load = Callable[[Contender, Peers], Awaitable[dict[str, Sample]]]


@dataclass(frozen=True)
class Scale:
    """How much of everything is done in one run.

    `keys` are issued and verified once each, then `repeats` times more: an honest peer asks
    once, and asks again only when a connection was lost.
    """

    one_at_a_time: int
    many_at_once: int
    keys: int
    repeats: int


FULL = Scale(one_at_a_time=150, many_at_once=400, keys=400, repeats=10)
QUICK = Scale(one_at_a_time=5, many_at_once=40, keys=64, repeats=2)


def loads(scale: Scale) -> list[Load]:
    """All loads, in the order they are run and reported."""
    return [
        _inbound(scale.one_at_a_time, at_once=1),
        _inbound(scale.many_at_once, at_once=AT_ONCE),
        _outbound(scale.one_at_a_time, at_once=1),
        _outbound(scale.many_at_once, at_once=AT_ONCE),
        _verify(scale.keys, scale.repeats),
    ]


def _inbound(count: int, *, at_once: int) -> Load:
    async def load(contender: Contender, peers: Peers) -> dict[str, Sample]:
        target = contender.domain.encode()

        async def once() -> float:
            return await peers.inbound.handshake(target, contender.address, contender.s2s_port)

        sample = await measured(contender.pids, lambda: repeat(once, count=count, at_once=at_once))
        return {INBOUND.format(at_once): sample}

    return load


def _outbound(count: int, *, at_once: int) -> Load:
    async def load(contender: Contender, peers: Peers) -> dict[str, Sample]:
        outbound = peers.outbound
        await outbound.open_verifier(contender.domain, contender.address, contender.s2s_port)

        async def once() -> float:
            return await outbound.handshake(contender.local)

        try:
            sample = await measured(
                contender.pids, lambda: repeat(once, count=count, at_once=at_once)
            )
        finally:
            outbound.close_verifier()
        return {OUTBOUND.format(at_once): sample}

    return load


def _verify(count: int, repeats: int) -> Load:
    async def load(contender: Contender, peers: Peers) -> dict[str, Sample]:
        keys: list[IssuedKey] = []

        async def once() -> float:
            start = time.perf_counter()
            keys.append(await peers.outbound.hold(contender.local))
            return time.perf_counter() - start

        await repeat(once, count=count, at_once=AT_ONCE)
        requests = await VerifyLoad.connect(
            peers.tls,
            sender=OUTBOUND_ZONE,
            target=contender.domain,
            address=contender.address,
            port=contender.s2s_port,
            streams=VERIFY_STREAMS,
            outstanding=OUTSTANDING,
        )
        try:
            first = await measured(contender.pids, lambda: requests.run(keys))
            again = await measured(contender.pids, lambda: requests.run(keys, repeats))
        finally:
            requests.close()
            await peers.outbound.close_streams()
        return {VERIFY: first, VERIFY_AGAIN: again}

    return load
