"""How each kind of server that can be measured is started, native or with the module."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bench.dns import WildcardDns
from sidecar.lab.ejabberd import Ejabberd
from sidecar.lab.ejabberd_config import EjabberdSettings, ServiceListener
from sidecar.lab.prosody import Prosody
from sidecar.lab.prosody_config import ExternalComponent, ProsodySettings
from sidecar.lab.sidecar import EJABBERD_MODULE, PROSODY_MODULES, SidecarLink

SECRET = "secret of the benchmark"


@dataclass(frozen=True)
class Request:
    """What server is wanted; everything but `bolted_on` is the same for both contenders."""

    domain: str
    bolted_on: bool
    directory: Path
    dns: WildcardDns
    tls: bool
    nagle: bool
    generational: bool

    @property
    def local_sender(self) -> str:
        """The component whose messages make the server federate."""
        return f"load.{self.domain}"

    @property
    def sidecar(self) -> str:
        """The component JID of the sidecar."""
        return f"dialback.{self.domain}"

    @property
    def linked_domains(self) -> list[str]:
        return [self.domain, self.local_sender]


@dataclass(frozen=True)
class Running:
    """A server that listens; `link` when it waits for a sidecar."""

    address: str
    s2s_port: int
    component_port: int
    pid: int
    link: SidecarLink | None


async def prosody(stack: AsyncExitStack, request: Request) -> Running:
    """Start Prosody; it logs warnings only once it has started."""
    components = [ExternalComponent(request.local_sender, SECRET)]
    if request.bolted_on:
        components.append(ExternalComponent(request.sidecar, SECRET, ["dialback_sidecar"]))
    settings = ProsodySettings(
        hosts=[request.domain],
        components=components,
        plugin_paths=[PROSODY_MODULES] if request.bolted_on else [],
        tls=request.tls,
        nagle=request.nagle,
        options={"gc": {"mode": "generational"}} if request.generational else {},
    )
    server = Prosody(settings, directory=request.directory, dns=request.dns, publish=False)
    await stack.enter_async_context(server)
    await server.configure(replace(settings, log_level="warn"))
    return Running(
        server.address,
        server.s2s_port,
        server.component_port,
        server.pid,
        _link(server, request),
    )


async def ejabberd(stack: AsyncExitStack, request: Request) -> Running:
    """Start ejabberd; it logs warnings only."""
    components = [ServiceListener(request.local_sender, SECRET)]
    modules_d = {}
    if request.bolted_on:
        components.append(ServiceListener(request.sidecar, SECRET))
        options = {"mod_dialback_sidecar": {"component": request.sidecar}}
        modules_d = {"dialback_sidecar.yml": {"modules": options}}
    settings = EjabberdSettings(
        hosts=[request.domain],
        components=components,
        contrib_modules=[EJABBERD_MODULE] if request.bolted_on else [],
        modules_d=modules_d,
        tls=request.tls,
        log_level="warning",
    )
    server = Ejabberd(settings, directory=request.directory, dns=request.dns, publish=False)
    await stack.enter_async_context(server)
    return Running(
        server.address,
        server.s2s_port,
        server.component_ports[request.local_sender],
        server.pid,
        _link(server, request),
    )


def _link(server: Prosody | Ejabberd, request: Request) -> SidecarLink | None:
    if not request.bolted_on:
        return None
    return SidecarLink.to(server, request.sidecar, request.linked_domains)


SERVERS: Mapping[str, Callable[[AsyncExitStack, Request], Awaitable[Running]]] = {
    "prosody": prosody,
    "ejabberd": ejabberd,
}
