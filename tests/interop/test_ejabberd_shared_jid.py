"""Two sidecars under one component JID, as ejabberd allows: it spreads the requests over them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Self

import pytest_asyncio
from conftest import assert_silent
from ejabberd_host import EjabberdHost
from host_servers import CAPULET, SIDECAR, HostSettings
from raw_stream import DIALBACK
from world import Visit, World

from sidecar.lab.network import Network
from sidecar.lab.sidecar import SidecarSettings

AT_ONCE = 12


class Twins(World):
    async def __aenter__(self) -> Self:
        self.network = Network()
        await self.network.__aenter__()
        try:
            socket = await self._start_shared_keyd()
            await self.host.start_into(self.network)
            settings = SidecarSettings([self.host.link(SIDECAR)], keyd_socket=socket)
            for name in (SIDECAR, "twin"):
                self.sidecars[name] = await self.network.sidecar(settings)
        except BaseException:
            await self.network.__aexit__(None, None, None)
            raise
        return self


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world() -> AsyncIterator[Twins]:
    async with Twins(EjabberdHost(HostSettings())) as twins:
        yield twins
    assert_silent(twins)


async def test_requests_are_spread_over_both(world: Twins, visit: Visit) -> None:
    peers = [await visit.peer() for _ in range(AT_ONCE)]

    async def authenticate(number: int) -> str | None:
        stream = await visit.stream(peers[number])
        return (await peers[number].authenticate(stream, target=CAPULET)).get("type")

    answers = await asyncio.gather(*(authenticate(number) for number in range(AT_ONCE)))
    assert answers == ["valid"] * AT_ONCE
    shares = [
        [line for line in sidecar.output.find(r"\bcheck ") if " valid" in line.text]
        for sidecar in world.sidecars.values()
    ]
    assert sum(map(len, shares)) == AT_ONCE
    assert all(shares)
    assert visit.stock_acts() == []


async def test_checks_of_a_killed_one_are_answered_by_the_other(world: Twins, visit: Visit) -> None:
    peers = [await visit.peer(tls=False) for _ in range(AT_ONCE)]
    streams = []
    for peer in peers:
        peer.on_verify = peer.ignore
        streams.append(await visit.stream(peer))
        await peer.request(streams[-1], target=CAPULET)
    held = [await peer.next_request("verify") for peer in peers]
    for peer in peers:
        peer.on_verify = peer.verify_honestly

    await world.sidecar.kill()
    for peer, (asking, element) in zip(peers, held, strict=True):
        if not asking.ended:
            await peer.verify_honestly(asking, element)
    for stream in streams:
        assert (await stream.receive(DIALBACK + "result")).get("type") == "valid"
    await world.sidecar.start()
