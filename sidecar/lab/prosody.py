"""A Prosody of our own: Debian's program, our configuration, a directory that goes away."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sidecar.lab.addresses import free_ports, fresh_address, require_free
from sidecar.lab.certificates import self_signed
from sidecar.lab.dns import DnsServer
from sidecar.lab.faults import Missing
from sidecar.lab.process import Process, run
from sidecar.lab.prosody_config import ProsodyPlace, ProsodySettings, render
from sidecar.lab.server import Server, announce

_UNBOUND = "lunbound.so"


def require_prosody() -> None:
    """Raise Missing unless Prosody and its DNS library are installed."""
    if shutil.which("prosody") is None:
        raise Missing("prosody", "prosody")
    if not any(Path("/usr").glob(f"lib/*/lua/5.*/{_UNBOUND}")) and not any(
        Path("/usr").glob(f"*/lib/lua/5.*/{_UNBOUND}")
    ):
        raise Missing("lua-unbound", "lua-unbound")


class Prosody(Server):
    """`async with Prosody(settings, directory=..., dns=...) as prosody`, ready to be used.

    Publishes `_xmpp-server` SRV and address records for its domains in `dns`.
    """

    def __init__(
        self,
        settings: ProsodySettings,
        *,
        directory: Path,
        dns: DnsServer,
        address: str | None = None,
        ports: tuple[int, int, int] | None = None,
        publish: bool = True,
    ) -> None:
        """`ports`: c2s, s2s, component; free ones when not given."""
        require_prosody()
        self.settings = settings
        self.directory = directory
        self.address = address or fresh_address()
        self.c2s_port, self.s2s_port, self.component_port = ports or free_ports(self.address, 3)
        self._dns = dns
        self._publish = publish
        self._process = Process(
            "prosody",
            ["prosody", "--config", self.config_path, "-F"],
            directory=directory,
            environment={"HOME": str(directory)},
        )

    @property
    def config_path(self) -> Path:
        return self.directory / "prosody.cfg.lua"

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains other servers may reach: hosts and rooms."""
        return (*self.settings.hosts, *self.settings.rooms)

    async def start(self) -> None:
        """Start it and return when it listens."""
        require_free(self.address, self.c2s_port, self.s2s_port, self.component_port)
        await self._process.start()
        ports = [self.c2s_port, self.s2s_port]
        if self.settings.components:
            ports.append(self.component_port)
        # What connects from here on is served once all hosts are up.
        await self._process.wait_listening(self.address, *ports)

    async def shell(self, command: str) -> str:
        """Run one command of Prosody's shell, as in `host:activate("a.example")`."""
        return await run(
            ["prosodyctl", "--config", self.config_path, "shell", command],
            directory=self.directory,
            environment={"HOME": str(self.directory)},
        )

    async def configure(self, settings: ProsodySettings) -> None:
        """Write a new configuration and load it live; hosts still have to be (de)activated."""
        self.settings = settings
        self._write()
        await self.shell("config:reload()")

    def _write(self) -> None:
        place = ProsodyPlace(
            directory=self.directory,
            address=self.address,
            c2s_port=self.c2s_port,
            s2s_port=self.s2s_port,
            component_port=self.component_port,
            nameserver=(self._dns.address, self._dns.port),
        )
        self.config_path.touch(mode=0o600)
        self.config_path.write_text(render(self.settings, place, as_root=os.geteuid() == 0))
        if self.settings.trusted_pem:
            (self.directory / "trusted.pem").write_bytes(self.settings.trusted_pem)
        for domain in self.domains if self.settings.tls else ():
            known = self.settings.certificates.get(domain)
            path = self.directory / "certs" / f"{domain}.crt"
            if known is not None or not path.exists():
                (known or self_signed(domain)).write(path.parent, domain)
        for jid, password in self.settings.accounts.items():
            self._write_account(jid, password)

    def _write_account(self, jid: str, password: str) -> None:
        user, _, host = jid.partition("@")
        folder = self.directory / "data" / host.replace(".", "%2e").replace("-", "%2d") / "accounts"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{user}.dat").write_text(f'return {{ ["password"] = "{password}"; }};\n')

    async def prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "data").mkdir(exist_ok=True)
        self._write()
        if self._publish:
            announce(self._dns, self.domains, self.address, self.s2s_port)
