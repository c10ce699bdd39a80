"""A host server with the sidecar, a small internet around it, and short words for both."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Self

from guests import MESSAGE, Guests, body, message
from host_servers import CAPULET, HostServer

from sidecar.lab.network import Network
from sidecar.lab.process import Process
from sidecar.lab.sidecar import ENVIRONMENT, Sidecar, SidecarSettings, command

EVERY_LOGGER_AT_DEBUG = {"PYTHONPATH": str(Path(__file__).parent / "loud")}

__all__ = ["MESSAGE", "Visit", "World", "body", "message"]


class World:
    """`host` and `sidecar` run; `peer()` adds remote servers, `log_in()` local users.

    What an `async with Visit(world)` opened ends with it, the servers go on.
    """

    def __init__(self, host: HostServer) -> None:
        self.host = host
        self.network = Network()
        self.sidecars: dict[str, Sidecar] = {}
        self.keyd: Process | None = None
        """The key service, where it is not the child of the only sidecar."""

    @property
    def sidecar(self) -> Sidecar:
        """The sidecar that the module asks first."""
        return self.sidecars[self.host.settings.sidecars[0]]

    async def __aenter__(self) -> Self:
        await self.network.__aenter__()
        try:
            await self.host.start_into(self.network)
            jids = self.host.settings.sidecars
            socket = await self._start_shared_keyd() if len(jids) > 1 else None
            for jid in jids:
                settings = SidecarSettings(
                    [self.host.link(jid)], keyd_socket=socket, environment=EVERY_LOGGER_AT_DEBUG
                )
                self.sidecars[jid] = await self.network.sidecar(settings)
        except BaseException:
            await self.network.__aexit__(None, None, None)
            raise
        return self

    async def _start_shared_keyd(self) -> Path:
        """Start a key service of its own; all sidecars that answer for a domain share one."""
        directory = self.network.new_directory("keyd")
        directory.mkdir(mode=0o700)
        socket = directory / "keyd.sock"
        as_root = ["--allow-root"] if os.geteuid() == 0 else []
        arguments = ["--state-directory", directory / "state", "--socket", socket, *as_root]
        argv = command("dialback-keyd", *arguments)
        self.keyd = Process("dialback-keyd", argv, directory=directory, environment=ENVIRONMENT)
        await self.keyd.start()
        await self.keyd.output.wait_for("serving on")
        return socket

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.network.__aexit__(kind, error, tb)
        if self.keyd is not None:
            await self.keyd.stop()

    @property
    def our_outputs(self) -> list[str]:
        """What our daemons printed, all of it."""
        outputs = [sidecar.output for sidecar in self.sidecars.values()]
        return [output.text() for output in (*outputs, *([self.keyd.output] if self.keyd else []))]


class Visit(Guests):
    """One test's stay in a world: marks where the logs stood, and ends what it opened."""

    def __init__(self, world: World) -> None:
        super().__init__(world.host, world.network)
        self.world = world
        self.host = world.host
        self.sidecar = world.sidecar
        self.host_mark = world.host.output.mark()
        self.sidecar_mark = self.sidecar.output.mark()
        """Where the log of `sidecar` stood; decisions count from here."""
        outputs = [world.host.output, *(s.output for s in world.sidecars.values())]
        self._marks = [(output, output.mark()) for output in outputs]

    def turn_to(self, sidecar: Sidecar) -> None:
        """Look at the decisions of this sidecar from now on."""
        self.sidecar = sidecar
        self.sidecar_mark = sidecar.output.mark()

    # what was decided

    def decisions(self, job: str = "", sender: str = "", target: str = "") -> list[str]:
        """The sidecar's log lines about the jobs it answered during this visit."""
        pattern = (
            rf"\b({job or 'issue|verify|check'}) {re.escape(sender) or '[^ ]+'}"
            rf" -> {re.escape(target) or '[^ :]+'} "
        )
        return [line.text for line in self.sidecar.output.find(pattern, self.sidecar_mark)]

    async def decided_in_all(self, count: int) -> list[str]:
        """The same once there are so many or more: the log is read beside."""
        output = self.sidecar.output
        while len(found := self.decisions()) < count:
            await output.wait_for(" -> ", after=output.mark())
        return found

    async def decided(self, job: str, *, sender: str, target: str, outcome: str) -> str:
        """Return the sidecar's line about this job once it is there."""
        pattern = rf"\b{job} {re.escape(sender)} -> {re.escape(target)} {outcome}"
        line = await self.sidecar.output.wait_for(pattern, after=self.sidecar_mark)
        return line.text

    async def federate_by_sidecar(self) -> None:
        """First stanzas to and from a peer never seen before, decided by `sidecar` alone."""
        peer = await self.federate()
        await self.decided("issue", sender=CAPULET, target=peer.domain, outcome="valid")
        await self.decided("check", sender=peer.domain, target=CAPULET, outcome="valid")
        assert self.stock_acts() == []

    def stock_acts(self) -> list[str]:
        """What the server's own dialback did during this visit."""
        return self.host.stock_acts(self.host_mark)

    async def stock_acted(self) -> None:
        """Return once the log says that the server's own dialback did something in this visit."""
        async with asyncio.timeout(30):
            while not self.stock_acts():
                await asyncio.sleep(0.02)

    def network_asked_for(self, domain: str) -> list[str]:
        """The names at and below `domain` that anybody looked up in the DNS."""
        queries = self.world.network.dns.queries
        return [query.name for query in queries if f".{query.name}".endswith(f".{domain}")]

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await super().__aexit__(kind, error, tb)
        for output, mark in self._marks:
            print(f"--- {output.name} ---", output.text(mark), sep="\n")  # shown when a test fails
