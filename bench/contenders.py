"""The two servers that are measured side by side: native, and with the sidecar bolted on."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import component, cpu
from bench.component import LocalSender
from bench.dns import WildcardDns
from bench.quiet_sidecar import QuietSidecar
from bench.servers import SECRET, SERVERS, Request
from sidecar.lab.sidecar import SidecarSettings

ENDLESS = 1_000_000


@dataclass(frozen=True)
class Cores:
    """Which core each part is kept on; the sidecar and keyd may have several."""

    server: int
    sidecar: frozenset[int]
    load: int

    @classmethod
    def choose(cls, *, together: bool) -> Cores:
        """One each where there are three; with two, the sidecar is where there is room.

        With `together` it shares the server's, whatever there is.
        """
        cores = sorted(os.sched_getaffinity(0))
        server, load = cores[0], cores[-1]
        middle = {cores[1]} if len(cores) > 2 else {server, load}
        return cls(server, frozenset({server} if together else middle), load)

    @contextmanager
    def load_alone(self) -> Iterator[None]:
        """Keep this process on the load's core."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self.load})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Options:
    """What both contenders have in common."""

    server: str
    tls: bool
    nagle: bool
    generational: bool
    cores: Cores


@dataclass(frozen=True)
class Contender:
    """A running server under load; `pids` by role: `server`, `sidecar`, `keyd`."""

    name: str
    domain: str
    address: str
    s2s_port: int
    local: LocalSender
    pids: Mapping[str, int]


@asynccontextmanager
async def contenders(
    options: Options, directory: Path, dns: WildcardDns
) -> AsyncIterator[list[Contender]]:
    """Start the native and the bolted-on server, each part on its core."""
    async with AsyncExitStack() as stack:
        yield [
            await _contender(stack, options, directory, dns, "native", bolted_on=False),
            await _contender(stack, options, directory, dns, "bolted-on", bolted_on=True),
        ]


async def _contender(
    stack: AsyncExitStack,
    options: Options,
    directory: Path,
    dns: WildcardDns,
    name: str,
    *,
    bolted_on: bool,
) -> Contender:
    request = Request(
        domain=f"{name}.example",
        bolted_on=bolted_on,
        directory=directory / name,
        dns=dns,
        tls=options.tls,
        nagle=options.nagle,
        generational=options.generational,
    )
    server = await SERVERS[options.server](stack, request)
    pids = {"server": server.pid}
    pin(server.pid, options.cores.server)
    if server.link is not None:
        settings = SidecarSettings(
            [server.link],
            log_level="warning",
            check={"address_connections_per_second": ENDLESS},  # all peers have one address
        )
        sidecar = QuietSidecar(settings, directory=directory / f"{name}-sidecar", dns=dns)
        await stack.enter_async_context(sidecar)
        (keyd,) = cpu.children(sidecar.pid)
        pids |= {"sidecar": sidecar.pid, "keyd": keyd}
        for pid in (sidecar.pid, keyd):
            pin(pid, *options.cores.sidecar)
    local = await component.connect(
        request.local_sender, SECRET, server.address, server.component_port
    )
    stack.push_async_callback(local.close)
    return Contender(name, request.domain, server.address, server.s2s_port, local, pids)


def pin(pid: int, *cores: int) -> None:
    """Keep all threads of a process, and what they will start, on these cores."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)
