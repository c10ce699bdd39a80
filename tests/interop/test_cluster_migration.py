"""Moving a cluster of two ejabberd nodes by the runbook, one node at a time, and back.

While a node moves, handshakes go on with both nodes, in both directions, and whichever node
issued a key, each of the two is asked about it. None of them fails.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self
from xml.etree.ElementTree import Element

import pytest_asyncio
from click.testing import CliRunner
from conftest import assert_silent
from host_servers import CAPULET, PASSWORD, SIDECAR
from raw_client import log_in
from raw_peer import RawPeer
from raw_stream import DIALBACK, RawStream
from test_ejabberd_cluster import Node, connect
from world import World, message

from sidecar.cli import main
from sidecar.lab.addresses import free_ports, fresh_address
from sidecar.lab.ejabberd import COOKIE
from sidecar.lab.network import Network
from sidecar.lab.sidecar import EJABBERD_MODULE, SidecarSettings

_FILE = "mod_dialback_sidecar.yml"
_numbers = itertools.count(1)


class MovingNode(Node):
    """A node that decides every dialback itself until `move`, and again after `undo`."""

    async def redo(self) -> None:
        await self.join()  # what is bolted on at the start is nothing

    async def listen(self) -> None:
        """Install the module and wait for its sidecar, nothing enabled yet."""
        await self.server.install_module(EJABBERD_MODULE)
        bolt = json.loads(self.bolt())
        del bolt["modules"]
        self._write(_FILE, json.dumps(bolt))
        await self.server.ctl("reload_config")

    async def enable(self) -> None:
        self._write(_FILE, self.bolt())
        await self.server.ctl("reload_config")


class MovingCluster(World):
    def __init__(self) -> None:
        (port,) = free_ports(fresh_address())
        self.first = MovingNode(port)
        self.second = MovingNode(port, self.first)
        self.nodes = (self.first, self.second)
        super().__init__(self.first)

    async def __aenter__(self) -> Self:
        self.network = Network()
        await self.network.__aenter__()
        try:
            self._socket: Path = await self._start_shared_keyd()
            self.clients: dict[Node, RawStream] = {}
            for node in self.nodes:
                await node.start_into(self.network)
                self.clients[node] = await log_in(
                    f"nurse@{CAPULET}", PASSWORD, node.address, node.c2s_port
                )
        except BaseException:
            await self.network.__aexit__(None, None, None)
            raise
        return self

    def secret(self, *arguments: str, given: str = "") -> None:
        admin_socket = self._socket.parent / "state" / "admin.sock"
        argv = ["secret", *arguments, "--admin-socket", str(admin_socket)]
        ran = CliRunner().invoke(main, argv, input=given)
        assert ran.exit_code == 0, ran.output

    def import_cookie(self) -> None:
        self.secret("import", CAPULET, "--cookie-file", "-", "--issue", given=COOKIE)

    async def move(self, node: MovingNode) -> None:
        await node.listen()
        settings = SidecarSettings([node.link(SIDECAR)], keyd_socket=self._socket)
        name = SIDECAR if node is self.first else "second"
        self.sidecars[name] = await self.network.sidecar(settings)
        await node.enable()

    # one handshake

    def _peer(self) -> RawPeer:
        domain = f"peer-{next(_numbers)}.moving.example"
        directory = self.network.new_directory("peer")
        return RawPeer(domain, dns=self.network.dns, directory=directory)

    async def verdicts_on_key_from(self, node: Node) -> dict[Node, str | None]:
        """What each node says about a key that `node` has just issued for a message."""
        verdicts: dict[Node, str | None] = {}

        async def ask_every_node(stream: RawStream, element: Element) -> None:
            for asked in self.nodes:
                verify = await connect(peer, asked)
                await verify.db_verify(
                    sender=element.get("from", ""),
                    target=element.get("to", ""),
                    stream=stream.sent_headers[-1]["id"],
                    key=element.text or "",
                )
                verdicts[asked] = (await verify.receive(DIALBACK + "verify")).get("type")
            await peer.accept_result(stream, element)

        async with self._peer() as peer:
            peer.on_result = ask_every_node
            await self.clients[node].send(message(to=f"romeo@{peer.domain}", text="hello"))
            await peer.next_stanza()
        return verdicts

    async def result_for_peer_at(self, node: Node) -> str | None:
        """What `node` says to a peer that proves its domain with a key of its own."""
        async with self._peer() as peer:
            stream = await connect(peer, node)
            return (await peer.authenticate(stream, target=CAPULET)).get("type")

    # many

    async def shake_hands(self) -> None:
        """One handshake in each direction with each node; none may fail."""
        results = await asyncio.gather(
            *(self.verdicts_on_key_from(node) for node in self.nodes),
            *(self.result_for_peer_at(node) for node in self.nodes),
        )
        both_valid = dict.fromkeys(self.nodes, "valid")
        assert results == [both_valid, both_valid, "valid", "valid"]

    @asynccontextmanager
    async def handshakes_go_on(self) -> AsyncIterator[None]:
        """Handshakes all through the block, the first of them before it."""
        await self.shake_hands()
        over = asyncio.Event()

        async def go_on() -> None:
            while not over.is_set():
                await self.shake_hands()

        async with asyncio.TaskGroup() as group:
            group.create_task(go_on())
            yield
            over.set()

    async def assert_moved(self, moved: Collection[Node]) -> None:
        """Handshakes succeed, and only the nodes not in `moved` decide about them themselves."""
        marks = {node: node.output.mark() for node in self.nodes}
        await self.shake_hands()
        async with asyncio.timeout(30):
            while not all(node.stock_acts(marks[node]) or node in moved for node in self.nodes):
                await asyncio.sleep(0.02)
        assert not any(node.stock_acts(marks[node]) for node in self.nodes if node in moved)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cluster() -> AsyncIterator[MovingCluster]:
    async with MovingCluster() as cluster:
        yield cluster
    assert_silent(cluster)


async def test_first_node_moves_while_the_other_issues_natively(cluster: MovingCluster) -> None:
    await cluster.assert_moved([])
    cluster.import_cookie()
    async with cluster.handshakes_go_on():
        await cluster.move(cluster.first)
    await cluster.assert_moved([cluster.first])


async def test_node_not_moved_calls_keys_of_a_secret_not_its_own_invalid(
    cluster: MovingCluster,
) -> None:
    cluster.secret("rotate", CAPULET)
    verdicts = await cluster.verdicts_on_key_from(cluster.first)
    assert verdicts == {cluster.first: "valid", cluster.second: "invalid"}
    verdicts = await cluster.verdicts_on_key_from(cluster.second)
    assert verdicts == {cluster.first: "valid", cluster.second: "valid"}
    cluster.import_cookie()
    await cluster.shake_hands()


async def test_second_node_moves(cluster: MovingCluster) -> None:
    async with cluster.handshakes_go_on():
        await cluster.move(cluster.second)
    await cluster.assert_moved(cluster.nodes)


async def test_nodes_move_back_one_at_a_time(cluster: MovingCluster) -> None:
    async with cluster.handshakes_go_on():
        await cluster.first.undo()
    await cluster.assert_moved([cluster.second])
    async with cluster.handshakes_go_on():
        await cluster.second.undo()
    await cluster.assert_moved([])
