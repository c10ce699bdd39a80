"""A client that follows events and does not read them is cut off, and costs no memory."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import msgspec
from raw_http import request

from sidecar.admin.server import AdminServer
from sidecar.admin.views import Health
from sidecar.config import AdminConfig
from sidecar.keys.messages import Denied, Reply, Request, TokenFacts
from sidecar.operations import Parts
from sidecar.operations.events import Events


class Told(msgspec.Struct):
    text: str


class OneToken:
    """A key service with one token, which can be revoked."""

    connected = True
    revoked = False

    async def ask(self, request: Request, *, timeout_seconds: float) -> Reply:
        if self.revoked:
            return Denied("token-revoked")
        return TokenFacts("id", "name", ["handshakes:read"], None, 0, None, None, None)


async def test_reader_that_stands_still_is_cut_off_also_when_its_token_is_revoked(
    tmp_path: Path,
) -> None:
    nobody: Any = None
    keys, events = OneToken(), Events(1)
    known = {"keys": keys, "events": events}
    fields = {name: known.get(name, nobody) for name in Parts.__dataclass_fields__}
    path = tmp_path / "api.sock"
    server = AdminServer(
        AdminConfig(listen=()),
        path,
        Parts(**fields),
        health=lambda: Health({}),
        exposition=lambda _: b"",
    )
    await server.start()
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, str(path))
    await loop.sock_sendall(client, request("GET /v1/events HTTP/1.1", token="dbs_x"))
    head = b""
    while b"retry:" not in head:
        head += await loop.sock_recv(client, 1)
    for number in range(4096):
        events.publish("alarm", Told("x" * 2000))
        if number % 256 == 0:
            await asyncio.sleep(0)
    keys.revoked = True
    async with asyncio.timeout(5):
        while server.connections:
            await asyncio.sleep(0.05)
    client.setblocking(True)
    kept = 0
    try:
        while piece := client.recv(65536):
            kept += len(piece)
    except ConnectionError:
        pass
    assert kept < 2_000_000  # of eight million
    client.close()
    await server.close()
