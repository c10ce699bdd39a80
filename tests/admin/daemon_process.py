"""A real daemon with its key service, and no XMPP server: its one link comes up only where a test
is the server's end of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from bench.link_server import LinkServer
from sidecar.key_client import KeyClient
from sidecar.keys.messages import CreateToken, IssueKey, Reply, Request, TokenMade
from sidecar.lab.dns import DnsServer
from sidecar.lab.process import Process
from sidecar.lab.sidecar import ENVIRONMENT, command

LINK_JID = "dialback.capulet.example"
CONFIG = """
state_directory = "state"
[admin]
listen = [LISTEN]
issue_keys_for = ["capulet.example"]
[check]
nameservers = ["127.0.0.1:1"]
[[link]]
jid = "dialback.capulet.example"
port = 1
secret_file = "secret"
domains = ["capulet.example", "*.capulet.example"]
"""


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    content: Any


class Daemon:
    """`async with Daemon(directory) as daemon`: its API answers."""

    def __init__(
        self,
        directory: Path,
        *,
        listen: str = "",
        link: LinkServer | None = None,
        dns: DnsServer | None = None,
    ) -> None:
        """`listen` is a TCP address of the API, besides the socket. `link` takes our component."""
        self.config_path = directory / "sidecar.toml"
        self.state = directory / "state"
        self.socket = self.state / "api.sock"
        config = CONFIG.replace("LISTEN", f'"{listen}"' if listen else "")
        if link is not None:
            config = config.replace("port = 1\n", f"port = {link.port}\n")
        if dns is not None:
            config = config.replace("127.0.0.1:1", dns.nameserver)
        self.config_path.write_text(config)
        secret = directory / "secret"
        secret.touch(mode=0o600)
        secret.write_text("s3cr3t" if link is None else link.secret)
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

    @property
    def admin_token(self) -> str:
        return (self.state / "keyd" / "admin-token").read_text().strip()

    async def make_secret(self, *domains: str) -> None:
        """Have a key issued for each domain, which makes its first secret."""
        for domain in domains:
            await self._keyd("keyd.sock", IssueKey(domain, "montague.example", "S1"))

    async def make_token(self, *scopes: str, **options: Any) -> str:
        """Any token at all, over the key service's own admin socket."""
        reply = await self._keyd("keyd/admin.sock", CreateToken("test", list(scopes), **options))
        assert isinstance(reply, TokenMade)
        return reply.token

    async def ask_keyd(self, request: Request) -> Reply:
        """Ask the key service as the daemon does."""
        return await self._keyd("keyd.sock", request)

    def kill_keyd(self) -> None:
        """End the key service with SIGKILL; the daemon starts it again."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for pid in children.read_text().split():
            if b"sidecar.keyd" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(int(pid), signal.SIGKILL)

    async def _keyd(self, socket: str, request: Request) -> Reply:
        client = KeyClient(self.state / socket)
        await client.start(timeout_seconds=10)
        try:
            return await client.ask(request, timeout_seconds=10)
        finally:
            await client.close()

    async def ask(self, method: str, path: str, token: str | None = None, **options: Any) -> Answer:
        """One request; with the administrator's token unless another is given, '' for none."""
        token = self.admin_token if token is None else token
        headers = {**options.pop("headers", {})}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        async with (
            self.session() as session,
            session.request(method, path, headers=headers, **options) as response,
        ):
            text = await response.text()
            is_json = "json" in response.headers.get("Content-Type", "")
            return Answer(response.status, response.headers, json.loads(text) if is_json else text)

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session() as session, session.get(path) as response:
            return response.status, await response.text()

    def session(self, **options: Any) -> aiohttp.ClientSession:
        connector = aiohttp.UnixConnector(str(self.socket))
        return aiohttp.ClientSession("http://localhost", connector=connector, **options)
