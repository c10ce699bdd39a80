"""A small internet: one directory, one DNS server, and the servers started into them.

    async with Network() as network:
        capulet = await network.prosody(ProsodySettings(["capulet.example"], accounts))
        montague = await network.ejabberd(EjabberdSettings(["montague.example"], more_accounts))
        romeo = await network.client(montague, "romeo@montague.example")

Everything ends with the with-block, the last started first.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from sidecar.lab.client import Client
from sidecar.lab.directory import throwaway_directory
from sidecar.lab.dns import DnsServer
from sidecar.lab.ejabberd import Ejabberd
from sidecar.lab.ejabberd_config import EjabberdSettings
from sidecar.lab.prosody import Prosody
from sidecar.lab.prosody_config import ProsodySettings
from sidecar.lab.sidecar import Sidecar, SidecarSettings


class Network:
    """What one demo, test or benchmark needs; `dns` and `directory` exist inside the with-block."""

    directory: Path
    dns: DnsServer

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.directory = stack.enter_context(throwaway_directory())
            self.dns = await stack.enter_async_context(DnsServer())
            self._stack = stack.pop_all()
        self._started = 0
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, tb)

    def new_directory(self, name: str) -> Path:
        """Return a directory for one server, to be made by it."""
        self._started += 1
        return self.directory / f"{self._started}-{name}"

    async def prosody(self, settings: ProsodySettings) -> Prosody:
        directory = self.new_directory("prosody")
        server = Prosody(settings, directory=directory, dns=self.dns)
        return await self._stack.enter_async_context(server)

    async def ejabberd(self, settings: EjabberdSettings) -> Ejabberd:
        directory = self.new_directory("ejabberd")
        server = Ejabberd(settings, directory=directory, dns=self.dns)
        return await self._stack.enter_async_context(server)

    async def sidecar(self, settings: SidecarSettings) -> Sidecar:
        directory = self.new_directory("sidecar")
        daemon = Sidecar(settings, directory=directory, dns=self.dns)
        return await self._stack.enter_async_context(daemon)

    async def client(self, server: Prosody | Ejabberd, jid: str) -> Client:
        """Connect `jid`, one of the accounts `server` was started with."""
        password = server.settings.accounts[jid]
        client = Client(jid, password, server.address, server.c2s_port, tls=server.settings.tls)
        return await self._stack.enter_async_context(client)
