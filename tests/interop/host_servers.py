"""The server whose dialbacks the sidecar decides: one face for every kind of host server.

The tests know nothing but `HostServer`. Prosody's lives in `prosody_host`; another server gets
a file of its own and a line in `KINDS` of `conftest`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sidecar.lab.network import Network
from sidecar.lab.output import Output
from sidecar.lab.sidecar import SidecarLink

CAPULET = "capulet.example"
VERONA = "verona.example"
ROOMS = "rooms.capulet.example"
SIDECAR = "dialback.capulet.example"
GOSSIP = "gossip.capulet.example"
"""A component whose server lets it claim any `from`."""
PASSWORD = "pencil"


@dataclass(frozen=True)
class HostSettings:
    """What a host server hosts, and how the module on it is configured."""

    hosts: Sequence[str] = (CAPULET, VERONA)
    rooms: Sequence[str] = (ROOMS,)
    accounts: Mapping[str, str] = field(
        default_factory=lambda: {
            f"juliet@{CAPULET}": PASSWORD,
            f"nurse@{CAPULET}": PASSWORD,
            f"escalus@{VERONA}": PASSWORD,
        }
    )
    sidecars: Sequence[str] = (SIDECAR,)
    """Component JIDs in the order in which the module asks them."""
    native_fallback: bool = False
    check_limit: int | None = None
    """Pending checks that one stream may have; None: the module's default."""
    s2s_require_encryption: bool = False
    tls: bool = True
    """False: no certificates, no TLS at all."""


class HostServer(ABC):
    """A server with our module, started into a lab network by `start_into`."""

    settings: HostSettings
    address: str
    c2s_port: int
    s2s_port: int
    check_limit: int
    """Pending checks that one stream may have, as configured or by default."""
    ends_cleartext = False
    """Whether the server's core, where it requires encryption, ends a stream over the first
    element on cleartext, before any module sees it."""

    @abstractmethod
    async def start_into(self, network: Network) -> None:
        """Start the server with the module enabled; it ends with the network."""

    @property
    @abstractmethod
    def output(self) -> Output:
        """Everything the server logs, at its lowest level."""

    @abstractmethod
    def link(self, jid: str) -> SidecarLink:
        """The `[[link]]` for the component `jid` of this server."""

    @abstractmethod
    def component_place(self, jid: str) -> tuple[str, int]:
        """Address and port on which the server waits for the component `jid`."""

    @abstractmethod
    async def sidecar_gone(self, jid: str) -> None:
        """Return once the server has noticed that nothing is connected as `jid` any more."""

    @abstractmethod
    async def sidecar_back(self, jid: str) -> None:
        """Return once a sidecar is connected as `jid`, be it still or again."""

    @abstractmethod
    async def stop(self) -> None: ...

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def reload_module(self) -> None:
        """Load the module's code again, as an operator does after an update."""

    @abstractmethod
    async def undo(self) -> None:
        """Take the module away from the running server, as the README says."""

    @abstractmethod
    async def redo(self) -> None:
        """Bolt the module on again, the server running."""

    @abstractmethod
    def stock_acts(self, after: int) -> list[str]:
        """The lines that say that the server's own dialback decided something."""

    @abstractmethod
    def our_lines(self, after: int) -> list[str]:
        """The lines of the log that our module wrote."""
