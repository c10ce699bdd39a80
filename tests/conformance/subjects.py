"""What is looked at: stock servers, the same ones with the sidecar, and the sidecar alone."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from ejabberd_host import EjabberdHost
from guests import Guests, message
from host_servers import CAPULET, HostServer, HostSettings
from prosody_host import ProsodyHost
from raw_peer import RawPeer
from world import World

from sidecar.key_client import KeyClient
from sidecar.lab.authority import AuthorityPlace
from sidecar.lab.ejabberd import Ejabberd
from sidecar.lab.ejabberd_config import EjabberdSettings
from sidecar.lab.network import Network
from sidecar.lab.output import Output
from sidecar.lab.prosody import Prosody
from sidecar.lab.prosody_config import ProsodySettings
from sidecar.lab.sidecar import Sidecar, SidecarSettings
from sidecar.names import Domain, DomainPair, StreamId

SERVERS = ("prosody", "ejabberd", "stock-prosody", "stock-ejabberd")
"""The two with our module and the sidecar, and without anything of ours."""
LISTENER = "listener"
"""The authority listener: a sidecar without a server, so without users and stanzas."""
SECRET = "s3cr3tf0rd14lb4ck"
"""Stock Prosody's `dialback_secret`."""

on_servers = pytest.mark.parametrize("subject", SERVERS, indirect=True, scope="session")
on_all = pytest.mark.parametrize("subject", [*SERVERS, LISTENER], indirect=True, scope="session")


@dataclass(frozen=True)
class Subject:
    """A running server in a network of its own."""

    name: str
    network: Network
    server: Prosody | Ejabberd | HostServer | Sidecar
    address: str
    s2s_port: int
    c2s_port: int = 0
    """0: no users."""

    @property
    def output(self) -> Output:
        return self.server.output

    async def issue(self, guests: Guests, peer: RawPeer) -> tuple[str, str]:
        """Have a key made for the first domain and `peer`; the stream ID it is for, and the key."""
        if isinstance(self.server, Sidecar):
            keys = KeyClient(self.server.keyd_socket)
            await keys.start(timeout_seconds=30)
            pair = DomainPair(sender=Domain.parse(CAPULET), target=Domain.parse(peer.domain))
            key = await keys.issue(pair, StreamId.parse("417GAF25"), timeout_seconds=10)
            await keys.close()
            return "417GAF25", key.reveal()
        peer.on_result = peer.ignore
        juliet = await guests.log_in("juliet")
        await juliet.send(message(to=f"romeo@{peer.domain}", text="waiting"))
        stream, request = await peer.next_request("result")
        return stream.sent_headers[-1]["id"], request.text or ""


@asynccontextmanager
async def start(name: str) -> AsyncIterator[Subject]:
    """The server of that name; all of them host the same domains and users."""
    if name in ("prosody", "ejabberd"):
        kind = ProsodyHost if name == "prosody" else EjabberdHost
        async with World(kind(HostSettings())) as world:
            yield _reached(name, world.network, world.host)
        return
    async with Network() as network:
        hosted = HostSettings()
        if name == LISTENER:
            place = AuthorityPlace.fresh(*hosted.hosts, *hosted.rooms, allow_cleartext=True)
            sidecar = await network.sidecar(SidecarSettings([], authority=place))
            yield Subject(name, network, sidecar, place.address, place.port)
            return
        stock: Prosody | Ejabberd
        if name == "stock-prosody":
            stock = await network.prosody(
                ProsodySettings(
                    hosted.hosts,
                    hosted.accounts,
                    hosted.rooms,
                    options={"dialback_secret": SECRET},
                )
            )
            _require_version(stock.output, r"Prosody version (0\.12)\.")
        else:
            stock = await network.ejabberd(
                EjabberdSettings(hosted.hosts, hosted.accounts, hosted.rooms)
            )
            _require_version(stock.output, r"ejabberd (23\.01)")
        yield _reached(name, network, stock)


def _reached(name: str, network: Network, server: Prosody | Ejabberd | HostServer) -> Subject:
    return Subject(name, network, server, server.address, server.s2s_port, server.c2s_port)


def _require_version(output: Output, pattern: str) -> None:
    """Skip where another version is installed than the one that the page is about."""
    if not re.search(pattern, output.text()):
        pytest.skip(f"expected {pattern} in the log of the stock server")
