"""The servers that are measured side by side: native, and with the sidecar bolted on."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench import component, cpu
from bench.component import LocalSender
from sidecar.lab.dns import DnsServer
from sidecar.lab.prosody import Prosody
from sidecar.lab.prosody_config import ExternalComponent, ProsodySettings
from sidecar.lab.sidecar import PROSODY_MODULES, Sidecar, SidecarLink, SidecarSettings

_SECRET = "secret of the benchmark"


@dataclass(frozen=True)
class Cores:
    """Which core each part is kept on."""

    server: int
    sidecar: int
    load: int

    @classmethod
    def choose(cls, *, together: bool) -> Cores:
        """One each where there are three; with two, the sidecar shares the load's core.

        With `together` it shares the server's, whatever there is.
        """
        cores = sorted(os.sched_getaffinity(0))
        server, load = cores[0], cores[-1]
        middle = cores[1] if len(cores) > 2 else load
        return cls(server, server if together else middle, load)


@dataclass(frozen=True)
class Options:
    """What both contenders have in common."""

    server: str
    tls: bool
    nagle: bool
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


@dataclass(frozen=True)
class _Started:
    """A server as its starter leaves it; `link` when there is something to bolt on to it."""

    address: str
    s2s_port: int
    component_port: int
    pid: int
    link: SidecarLink | None


_Starter = Callable[[AsyncExitStack, Options, Path, DnsServer, str, bool], Awaitable[_Started]]


async def _prosody(
    stack: AsyncExitStack,
    options: Options,
    directory: Path,
    dns: DnsServer,
    domain: str,
    bolted_on: bool,
) -> _Started:
    components = [ExternalComponent(_local(domain), _SECRET)]
    if bolted_on:
        sidecar = ExternalComponent(_sidecar(domain), _SECRET, modules=["dialback_sidecar"])
        components.append(sidecar)
    settings = ProsodySettings(
        hosts=[domain],
        components=components,
        plugin_paths=[PROSODY_MODULES] if bolted_on else [],
        tls=options.tls,
        nagle=options.nagle,
    )
    prosody = Prosody(settings, directory=directory, dns=dns, publish=False)
    await stack.enter_async_context(prosody)
    await prosody.configure(replace(settings, log_level="warn"))
    domains = [domain, _local(domain)]
    link = SidecarLink.to(prosody, _sidecar(domain), domains) if bolted_on else None
    return _Started(prosody.address, prosody.s2s_port, prosody.component_port, prosody.pid, link)


SERVERS: Mapping[str, _Starter] = {"prosody": _prosody}
"""How to start each kind of server that can be measured."""


def _local(domain: str) -> str:
    return f"load.{domain}"


def _sidecar(domain: str) -> str:
    return f"dialback.{domain}"


@asynccontextmanager
async def contenders(
    options: Options, directory: Path, dns: DnsServer
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
    dns: DnsServer,
    name: str,
    *,
    bolted_on: bool,
) -> Contender:
    domain = f"{name}.example"
    start = SERVERS[options.server]
    server = await start(stack, options, directory / name, dns, domain, bolted_on)
    pids = {"server": server.pid}
    _pin(server.pid, options.cores.server)
    if server.link is not None:
        settings = SidecarSettings([server.link], log_level="info")
        sidecar = Sidecar(settings, directory=directory / f"{name}-sidecar", dns=dns)
        await stack.enter_async_context(sidecar)
        (keyd,) = cpu.children(sidecar.pid)
        pids |= {"sidecar": sidecar.pid, "keyd": keyd}
        for pid in (sidecar.pid, keyd):
            _pin(pid, options.cores.sidecar)
    local = await component.connect(_local(domain), _SECRET, server.address, server.component_port)
    stack.push_async_callback(local.close)
    return Contender(name, domain, server.address, server.s2s_port, local, pids)


def _pin(pid: int, core: int) -> None:
    """Keep all threads of a process, and what they will start, on one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})
