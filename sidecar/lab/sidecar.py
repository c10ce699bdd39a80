"""The product itself as a process of the lab: `dialback-sidecar serve` with its own directory."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidecar.lab.authority import AuthorityPlace
from sidecar.lab.dns import DnsServer
from sidecar.lab.ejabberd import Ejabberd
from sidecar.lab.process import Process
from sidecar.lab.prosody import Prosody
from sidecar.lab.server import Server

_REPOSITORY = Path(__file__).parents[2]
PROSODY_MODULES = _REPOSITORY / "contrib" / "prosody"
"""What `plugin_paths` of a bolted-on Prosody holds."""
EJABBERD_MODULE = _REPOSITORY / "contrib" / "ejabberd" / "mod_dialback_sidecar"
"""What `contrib_modules` of a bolted-on ejabberd holds."""


@dataclass(frozen=True)
class SidecarLink:
    """One `[[link]]` of sidecar.toml."""

    jid: str
    host: str
    port: int
    secret: str = field(repr=False)
    domains: Sequence[str]

    @classmethod
    def to(cls, server: Prosody | Ejabberd, jid: str, domains: Sequence[str] = ()) -> SidecarLink:
        """The link to the component `jid` that `server` is configured with."""
        secrets = {component.jid: component.secret for component in server.settings.components}
        if isinstance(server, Prosody):
            port = server.component_port
        else:
            port = server.component_ports[jid]
        return cls(jid, server.address, port, secrets[jid], domains or server.domains)


@dataclass(frozen=True)
class SidecarSettings:
    """What goes into sidecar.toml beside the directories."""

    links: Sequence[SidecarLink]
    keyd_socket: Path | None = None
    """None: the daemon starts `dialback-keyd` as its child."""
    allow_private_addresses: bool = True
    log_level: str = "debug"
    check: Mapping[str, Any] = field(default_factory=dict)
    """More keys of `[check]`."""
    admin: Mapping[str, Any] = field(default_factory=lambda: {"listen": []})
    """`[admin]`; the socket in the state directory is always there."""
    authority: AuthorityPlace | None = None
    """Its authority listener; announced in DNS."""
    toml: str = ""
    """Appended as it is."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """More environment variables; a PYTHONPATH goes in front of ours."""


class Sidecar(Server):
    """`async with Sidecar(settings, directory=..., dns=...) as sidecar`, linked to its servers."""

    def __init__(self, settings: SidecarSettings, *, directory: Path, dns: DnsServer) -> None:
        self.settings = settings
        self.directory = directory
        self._dns = dns
        self._process = Process(
            "dialback-sidecar",
            command("dialback-sidecar", "serve", "--config", self.config_path),
            directory=directory,
            environment=_environment(settings.environment),
        )

    @property
    def config_path(self) -> Path:
        return self.directory / "sidecar.toml"

    @property
    def state_directory(self) -> Path:
        return self.directory / "state"

    @property
    def keyd_socket(self) -> Path:
        """Where the key service answers: of its own, or the child's."""
        return self.settings.keyd_socket or self.state_directory / "keyd.sock"

    async def start(self) -> None:
        """Start it and return when every link is up and the authority listens."""
        before = self.output.mark()
        await self._process.start()
        for link in self.settings.links:
            await self.wait_linked(link.jid, after=before)
        place = self.settings.authority
        if place is not None:
            await self._process.wait_listening(place.address, place.port, place.tls_port)

    async def wait_linked(self, jid: str, *, after: int = 0, timeout_seconds: float = 30) -> None:
        """Return when the daemon has said that the link `jid` is up."""
        await self.output.wait_for(
            rf"link {re.escape(jid)}: connected", after=after, timeout_seconds=timeout_seconds
        )

    async def wait(self) -> int:
        """Return the exit status once the daemon has ended."""
        return await self._process.wait()

    def write(self) -> None:
        """Write sidecar.toml and the secret files from `settings`."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.state_directory.mkdir(exist_ok=True, mode=0o700)
        lines = [f"state_directory = {_toml(self.state_directory)}", ""]
        if self.settings.keyd_socket is not None:
            lines += ["[keyd]", f"socket = {_toml(self.settings.keyd_socket)}", ""]
        check = {
            "nameservers": [self._dns.nameserver],
            "allow_private_addresses": self.settings.allow_private_addresses,
        }
        lines += ["[check]"]
        lines += [
            f"{key} = {_toml(value)}" for key, value in {**check, **self.settings.check}.items()
        ]
        lines += ["", "[admin]"]
        lines += [f"{key} = {_toml(value)}" for key, value in self.settings.admin.items()]
        lines += ["", "[log]", f"level = {_toml(self.settings.log_level)}", ""]
        for number, link in enumerate(self.settings.links):
            secret_file = self.directory / f"link-{number}.secret"
            secret_file.touch(mode=0o600)
            secret_file.write_text(link.secret + "\n")
            lines += [
                "[[link]]",
                f"jid = {_toml(link.jid)}",
                f"host = {_toml(link.host)}",
                f"port = {link.port}",
                f"secret_file = {_toml(secret_file)}",
                f"domains = {_toml(list(link.domains))}",
                "",
            ]
        if self.settings.authority is not None:
            for heading, table in self.settings.authority.toml(self.directory):
                lines += [heading, *(f"{key} = {_toml(value)}" for key, value in table.items()), ""]
        self.config_path.write_text("\n".join([*lines, self.settings.toml, ""]))

    async def prepare(self) -> None:
        self.write()
        if self.settings.authority is not None:
            self.settings.authority.publish(self._dns)

    async def leave(self) -> None:
        await self._process.stop(grace_seconds=5)


ENVIRONMENT = {"PYTHONPATH": str(_REPOSITORY), "PYTHONUNBUFFERED": "1"}
_ENTRY = {
    "dialback-sidecar": "from sidecar.cli import main; main()",
    "dialback-keyd": "from sidecar.keyd.__main__ import main; raise SystemExit(main())",
}


def command(program: str, *arguments: str | Path) -> list[str | Path]:
    """The argv that runs one of our programs with this very Python; see `ENVIRONMENT`."""
    start = f"import sys; sys.argv[0] = {program!r}; {_ENTRY[program]}"
    return [sys.executable, "-c", start, *arguments]


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    path = ":".join(filter(None, (more.get("PYTHONPATH"), ENVIRONMENT["PYTHONPATH"])))
    return {**ENVIRONMENT, **more, "PYTHONPATH": path}


def _toml(value: object) -> str:
    """Return a value in TOML, which for these types is JSON."""
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
