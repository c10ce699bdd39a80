"""The servers that are looked at: stock ones, and the same ones with the sidecar."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from ejabberd_host import EjabberdHost
from host_servers import HostServer, HostSettings
from prosody_host import ProsodyHost
from world import World

from sidecar.lab.ejabberd import Ejabberd
from sidecar.lab.ejabberd_config import EjabberdSettings
from sidecar.lab.network import Network
from sidecar.lab.output import Output
from sidecar.lab.prosody import Prosody
from sidecar.lab.prosody_config import ProsodySettings

SERVERS = ("prosody", "ejabberd", "stock-prosody", "stock-ejabberd")
SECRET = "s3cr3tf0rd14lb4ck"
"""Stock Prosody's `dialback_secret`."""


@dataclass(frozen=True)
class Subject:
    """A running server in a network of its own; `name` is one of SERVERS."""

    name: str
    network: Network
    server: Prosody | Ejabberd | HostServer

    @property
    def address(self) -> str:
        return self.server.address

    @property
    def s2s_port(self) -> int:
        return self.server.s2s_port

    @property
    def c2s_port(self) -> int:
        return self.server.c2s_port

    @property
    def output(self) -> Output:
        return self.server.output


@asynccontextmanager
async def start(name: str) -> AsyncIterator[Subject]:
    """The server of that name; all of them host the same domains and users."""
    if name in ("prosody", "ejabberd"):
        kind = ProsodyHost if name == "prosody" else EjabberdHost
        async with World(kind(HostSettings())) as world:
            yield Subject(name, world.network, world.host)
        return
    async with Network() as network:
        hosted = HostSettings()
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
        yield Subject(name, network, stock)


def _require_version(output: Output, pattern: str) -> None:
    """Skip where another version is installed than the one that the page is about."""
    if not re.search(pattern, output.text()):
        pytest.skip(f"expected {pattern} in the log of the stock server")
