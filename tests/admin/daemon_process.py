"""A real daemon with its key service, and no XMPP server: its one link never comes up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from sidecar.lab.process import Process
from sidecar.lab.sidecar import ENVIRONMENT, command

LINK_JID = "dialback.capulet.example"
CONFIG = """
state_directory = "state"
[admin]
listen = []
[check]
nameservers = ["127.0.0.1:1"]
[[link]]
jid = "dialback.capulet.example"
port = 1
secret_file = "secret"
domains = ["capulet.example", "*.capulet.example"]
"""


class Daemon:
    """`async with Daemon(directory) as daemon`: its API answers."""

    def __init__(self, directory: Path, *, more: str = "") -> None:
        self.config_path = directory / "sidecar.toml"
        self.state = directory / "state"
        self.socket = self.state / "api.sock"
        self.config_path.write_text(CONFIG + more)
        secret = directory / "secret"
        secret.touch(mode=0o600)
        secret.write_text("s3cr3t")
        self.process = Process(
            "dialback-sidecar",
            command("dialback-sidecar", "serve", "--config", self.config_path),
            directory=directory,
            environment=ENVIRONMENT,
        )

    async def __aenter__(self) -> Self:
        await self.process.start()
        while not self.socket.exists():
            assert self.process.running, "\n".join(map(str, self.process.output.lines))
            await asyncio.sleep(0.02)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.process.stop(grace_seconds=10)

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session() as session, session.get(path) as response:
            return response.status, await response.text()

    def session(self, **options: Any) -> aiohttp.ClientSession:
        connector = aiohttp.UnixConnector(str(self.socket))
        return aiohttp.ClientSession("http://localhost", connector=connector, **options)
