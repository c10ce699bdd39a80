"""Prosody and ejabberd, both bolted on, with one daemon between them and a link to each.

It decides every handshake of both, by asking over the network: no check of one server is
answered from the keys issued for the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from ejabberd_host import EjabberdHost
from host_servers import CAPULET, PASSWORD, ROOMS, HostServer, HostSettings
from prosody_host import ProsodyHost
from raw_client import log_in
from raw_stream import RawStream
from world import MESSAGE, body, message

from sidecar.lab.network import Network
from sidecar.lab.sidecar import Sidecar, SidecarSettings

MONTAGUE = "montague.example"
MONTAGUE_ROOMS = "rooms.montague.example"
PRESENCE = "{jabber:client}presence"
FROM_CAPULET = ("juliet", CAPULET)
FROM_MONTAGUE = ("romeo", MONTAGUE)


@dataclass
class Verona:
    hosts: dict[str, HostServer]
    sidecar: Sidecar
    tls: bool

    async def log_in(self, user: str, domain: str) -> RawStream:
        host = self.hosts[domain]
        return await log_in(f"{user}@{domain}", PASSWORD, host.address, host.c2s_port)

    async def assert_decided(self, sender: str, target: str) -> None:
        """One handshake, all of its decisions made by the sidecar.

        Inside TLS the certificates on both sides can be evidence enough, and no key is asked for.
        """
        for job in ("issue", "check") if self.tls else ("issue", "verify", "check"):
            await self.sidecar.output.wait_for(rf"\b{job} {sender} -> {target} valid")
        for host in self.hosts.values():
            assert host.stock_acts(0) == []


@pytest_asyncio.fixture(
    scope="module", loop_scope="session", params=[True, False], ids=["inside TLS", "on cleartext"]
)
async def verona(request: pytest.FixtureRequest) -> AsyncIterator[Verona]:
    capulet = ProsodyHost(HostSettings(hosts=(CAPULET,), tls=request.param))
    montague = EjabberdHost(
        HostSettings(
            hosts=(MONTAGUE,),
            rooms=(MONTAGUE_ROOMS,),
            accounts={f"romeo@{MONTAGUE}": PASSWORD},
            sidecars=(f"dialback.{MONTAGUE}",),
            tls=request.param,
        )
    )
    async with Network() as network:
        await capulet.start_into(network)
        await montague.start_into(network)
        links = [host.link(host.settings.sidecars[0]) for host in (capulet, montague)]
        sidecar = await network.sidecar(SidecarSettings(links))
        yield Verona({CAPULET: capulet, MONTAGUE: montague}, sidecar, request.param)


async def test_messages_arrive_in_both_directions(verona: Verona) -> None:
    juliet, romeo = await verona.log_in(*FROM_CAPULET), await verona.log_in(*FROM_MONTAGUE)
    await juliet.send(message(to=f"romeo@{MONTAGUE}", text="wherefore"))
    assert body(await romeo.receive(MESSAGE, timeout_seconds=30)) == "wherefore"
    await romeo.send(message(to=f"juliet@{CAPULET}", text="by a name"))
    assert body(await juliet.receive(MESSAGE, timeout_seconds=30)) == "by a name"
    await verona.assert_decided(CAPULET, MONTAGUE)
    await verona.assert_decided(MONTAGUE, CAPULET)
    await juliet.close()
    await romeo.close()


@pytest.mark.parametrize(
    ("rooms", "guest"),
    [(ROOMS, FROM_MONTAGUE), (MONTAGUE_ROOMS, FROM_CAPULET)],
    ids=["on Prosody", "on ejabberd"],
)
async def test_guest_takes_part_in_a_room(
    verona: Verona, rooms: str, guest: tuple[str, str]
) -> None:
    stream = await verona.log_in(*guest)
    room = f"hall@{rooms}"
    await stream.send(
        f"<presence to='{room}/guest'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
    )
    await stream.receive(
        PRESENCE, where=lambda e: e.get("from") == f"{room}/guest", timeout_seconds=30
    )
    await stream.send(f"<message to='{room}' type='groupchat'><body>good even</body></message>")
    await stream.receive(MESSAGE, where=lambda e: body(e) == "good even")
    await verona.assert_decided(guest[1], rooms)
    await verona.assert_decided(rooms, guest[1])
    await stream.close()
