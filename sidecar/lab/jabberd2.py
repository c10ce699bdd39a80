"""A jabberd2 of our own: the two programs of its server-to-server side, router and s2s."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from sidecar.lab.addresses import free_ports, fresh_address, require_free
from sidecar.lab.certificates import self_signed
from sidecar.lab.dns import DnsServer
from sidecar.lab.faults import Missing
from sidecar.lab.process import Process
from sidecar.lab.server import Server, announce

_PLACES = "/usr/sbin:/usr/bin:/usr/local/bin"
_SECRET = "secret of the lab"


def require_jabberd2() -> None:
    """Raise Missing unless jabberd2 is installed."""
    for program in ("jabberd2-router", "jabberd2-s2s"):
        if shutil.which(program, path=_PLACES) is None:
            raise Missing(program, "jabberd2")


@dataclass(frozen=True)
class Jabberd2Settings:
    """Everything a test may want to differ."""

    hosts: Sequence[str]
    tls: bool = True
    """False: no certificate, no TLS at all, and then headers without version."""
    require_tls: bool = False


class Jabberd2(Server):
    """`async with Jabberd2(settings, directory=..., dns=...) as jabberd2`, ready for other servers.

    Publishes `_xmpp-server` SRV and address records for its domains in `dns`.
    """

    def __init__(self, settings: Jabberd2Settings, *, directory: Path, dns: DnsServer) -> None:
        require_jabberd2()
        self.settings = settings
        self.directory = directory
        self.address = fresh_address()
        self.s2s_port, self._router_port = free_ports(self.address, 2)
        self._dns = dns
        self._router = self._program("router", {})
        # udns takes its servers from there; `s2s` knows no other way but /etc/resolv.conf
        resolver = {"NAMESERVERS": dns.address, "RES_OPTIONS": f"port:{dns.port}"}
        self._process = self._program("s2s", resolver)

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(self.settings.hosts)

    async def start(self) -> None:
        """Start both and return when s2s listens."""
        require_free(self.address, self.s2s_port, self._router_port)
        await self._router.start()
        await self._router.wait_listening(self.address, self._router_port)
        await self._process.start()
        await self._process.wait_listening(self.address, self.s2s_port)

    async def stop(self) -> None:
        await super().stop()
        await self._router.stop()

    async def kill(self) -> None:
        await super().kill()
        await self._router.kill()

    async def prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        for name, text in (
            (
                "users.xml",
                f"<users><user><name>lab</name><secret>{_SECRET}</secret></user></users>",
            ),
            ("filter.xml", "<filter/>"),
            ("router.xml", self._router_configuration()),
            ("s2s.xml", self._s2s_configuration()),
        ):
            path = self.directory / name
            path.touch(mode=0o600)
            path.write_text(text)
        announce(self._dns, self.domains, self.address, self.s2s_port)

    def _program(self, name: str, environment: dict[str, str]) -> Process:
        program = shutil.which(f"jabberd2-{name}", path=_PLACES)
        assert program is not None
        return Process(
            f"jabberd2-{name}",
            [program, "-c", self.directory / f"{name}.xml"],
            directory=self.directory,
            environment=environment,
        )

    def _router_configuration(self) -> str:
        return (
            "<router><id>router</id><log type='stdout'/>"
            f"<local><ip>{self.address}</ip><port>{self._router_port}</port>"
            f"<users>{escape(str(self.directory / 'users.xml'))}</users>"
            f"<secret>{_SECRET}</secret></local>"
            "<io><max_fds>1024</max_fds></io>"
            "<aci><acl type='all'><user>lab</user></acl>"
            f"<filter>{escape(str(self.directory / 'filter.xml'))}</filter></aci></router>"
        )

    def _s2s_configuration(self) -> str:
        tls = ""
        if self.settings.tls:
            certificate = self_signed(*self.settings.hosts)
            path = self.directory / "s2s.pem"
            path.touch(mode=0o600)
            path.write_bytes(certificate.pem + certificate.key_pem)
            tls = f"<pemfile>{escape(str(path))}</pemfile>"
        require = "<require_tls/>" if self.settings.require_tls else ""
        return (
            "<s2s><id>s2s</id>"
            f"<router><ip>{self.address}</ip><port>{self._router_port}</port>"
            f"<user>lab</user><pass>{_SECRET}</pass></router><log type='stdout'/>"
            f"<local><ip>{self.address}</ip><port>{self.s2s_port}</port>"
            f"<secret>{_SECRET}</secret>{tls}</local>"
            "<io><max_fds>1024</max_fds></io>"
            "<check><interval>1</interval><queue>30</queue></check>"
            "<lookup><srv>xmpp-server</srv></lookup>"
            f"<security>{require}</security></s2s>"
        )
