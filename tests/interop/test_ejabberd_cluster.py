"""A cluster of two ejabberd nodes, each with a sidecar of its own, on one key service.

Both sidecars have the same component JID. A peer asks whichever node it happens to reach.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest_asyncio
from conftest import assert_silent
from ejabberd_host import EjabberdHost
from host_servers import CAPULET, PASSWORD, SIDECAR, HostSettings
from raw_client import log_in
from raw_peer import RawPeer
from raw_stream import DIALBACK, RawStream
from world import Visit, World, message

from sidecar.lab.addresses import free_ports, fresh_address
from sidecar.lab.ejabberd_config import EjabberdSettings
from sidecar.lab.network import Network
from sidecar.lab.sidecar import Sidecar, SidecarSettings

ACCOUNTS = {f"juliet@{CAPULET}": PASSWORD, f"nurse@{CAPULET}": PASSWORD}


_JOINED = """
Wait = fun Wait() ->
    Running = lists:keymember(ejabberd, 1, application:which_applications()),
    case Running andalso length(ejabberd_cluster:get_nodes()) of
        2 -> ok;
        _ -> timer:sleep(50), Wait()
    end
end, Wait()
"""


class Node(EjabberdHost):
    def __init__(self, port: int, other: Node | None = None) -> None:
        super().__init__(HostSettings(hosts=(CAPULET,), rooms=(), accounts=ACCOUNTS))
        self._distribution_port = port
        self._other = other

    def server_settings(self) -> EjabberdSettings:
        return replace(
            super().server_settings(),
            distributed=True,
            distribution_port=self._distribution_port,
            accounts={} if self._other else ACCOUNTS,
        )

    async def redo(self) -> None:
        await self.join()
        await super().redo()

    async def join(self) -> None:
        if self._other:
            await self.server.ctl("join_cluster", self._other.server.node)
            await self.server.evaluate(_JOINED)  # ejabberd 24.12 joins in the background
            self._other = None


class Cluster(World):
    """A world whose host server is the first node; `second` is the other."""

    def __init__(self) -> None:
        (port,) = free_ports(fresh_address())
        self._first = Node(port)
        self.second = Node(port, self._first)
        super().__init__(self._first)

    async def __aenter__(self) -> Self:
        self.network = Network()
        await self.network.__aenter__()
        try:
            socket = await self._start_shared_keyd()
            await self._first.start_into(self.network)
            await self.second.start_into(self.network)
            self.sidecars[SIDECAR] = await self._sidecar(self._first, socket)
            self.second_sidecar = await self._sidecar(self.second, socket)
            self.sidecars["second"] = self.second_sidecar
        except BaseException:
            await self.network.__aexit__(None, None, None)
            raise
        return self

    async def _sidecar(self, node: Node, socket: Path) -> Sidecar:
        return await self.network.sidecar(SidecarSettings([node.link(SIDECAR)], keyd_socket=socket))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world() -> AsyncIterator[Cluster]:
    async with Cluster() as cluster:
        yield cluster
    assert_silent(cluster)


async def connect(peer: RawPeer, node: Node) -> RawStream:
    return await peer.connect(node.address, node.s2s_port, target=CAPULET)


async def test_node_that_did_not_issue_a_key_confirms_it(world: Cluster, visit: Visit) -> None:
    peer = await visit.peer()
    shown = await visit.key_shown_to(peer)
    await visit.decided("issue", sender=CAPULET, target=peer.domain, outcome="valid")
    stream = await connect(peer, world.second)
    visit.turn_to(world.second_sidecar)
    await stream.db_verify(**{**shown, "key": "5e" * 32})
    assert (await stream.receive(DIALBACK + "verify")).get("type") == "invalid"
    await stream.db_verify(**shown)
    assert (await stream.receive(DIALBACK + "verify")).get("type") == "valid"
    await visit.decided("verify", sender=CAPULET, target=peer.domain, outcome="valid")
    assert visit.stock_acts() == []
    assert world.second.stock_acts(0) == []


async def test_second_node_serves_its_own_users_and_peers(world: Cluster, visit: Visit) -> None:
    peer = await visit.peer()
    juliet = await log_in(
        f"juliet@{CAPULET}", PASSWORD, world.second.address, world.second.c2s_port
    )
    visit.turn_to(world.second_sidecar)
    await juliet.send(message(to=f"romeo@{peer.domain}", text="who decides?"))
    await peer.next_stanza()
    stream = await connect(peer, world.second)
    assert (await peer.authenticate(stream, target=CAPULET)).get("type") == "valid"
    await visit.decided("issue", sender=CAPULET, target=peer.domain, outcome="valid")
    await visit.decided("check", sender=peer.domain, target=CAPULET, outcome="valid")
    await juliet.close()


async def test_node_without_a_sidecar_asks_the_one_of_the_other_node(
    world: Cluster, visit: Visit
) -> None:
    peer = await visit.peer()
    shown = await visit.key_shown_to(peer)
    await world.second_sidecar.kill()
    await world.second.server.evaluate(
        f"""Wait = fun Wait() ->
            case [P || {{route, _, _, _, P}} <- mnesia:dirty_read(route, <<"{SIDECAR}">>),
                       node(P) == node()] of
                [] -> ok;
                _ -> timer:sleep(10), Wait()
            end
        end, Wait()"""
    )
    stream = await connect(peer, world.second)
    await stream.db_verify(**shown)
    assert (await stream.receive(DIALBACK + "verify")).get("type") == "valid"
    await visit.decided("verify", sender=CAPULET, target=peer.domain, outcome="valid")
    assert (await peer.authenticate(stream, target=CAPULET)).get("type") == "valid"
    await visit.decided("check", sender=peer.domain, target=CAPULET, outcome="valid")
    await world.second_sidecar.start()
