"""However many connect, and however slowly they speak, the daemon keeps its descriptors."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from daemon_process import Daemon
from raw_http import read_answer, request

from sidecar.admin import binding, server
from sidecar.admin.admission import MAX_CONNECTIONS
from sidecar.admin.server import AdminServer
from sidecar.admin.views import Health
from sidecar.config import AdminConfig
from sidecar.keys.messages import Reply, Request, TokenFacts
from sidecar.lab.certificates import Authority
from sidecar.operations import Parts
from sidecar.operations.events import Events


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class AllAdministrators:
    """A key service to which every token is an administrator's."""

    connected = True

    async def ask(self, request: Request, *, timeout_seconds: float) -> Reply:
        return TokenFacts("id", "name", ["admin"], None, 0, None, None, None)


@asynccontextmanager
async def _serving(folder: Path, **admin: Any) -> AsyncIterator[AdminServer]:
    nobody: Any = None
    known = {"keys": AllAdministrators(), "events": Events(1)}
    parts = Parts(**{name: known.get(name, nobody) for name in Parts.__dataclass_fields__})
    serving = AdminServer(
        AdminConfig(**{"listen": (), **admin}),
        folder / "api.sock",
        parts,
        health=lambda: Health({}),
        exposition=lambda _: b"",
    )
    await serving.start()
    try:
        yield serving
    finally:
        await serving.close()


async def test_a_thousand_connections_cost_no_more_than_their_bound(tmp_path: Path) -> None:
    """Those within it are served, those beyond are told so, the socket is open to all of it."""
    port = _free_port()
    async with Daemon(tmp_path, listen=f"127.0.0.1:{port}") as daemon:
        descriptors = Path(f"/proc/{daemon.process.pid}/fd")
        before = len(list(descriptors.iterdir()))
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(1000)]
        refused = await asyncio.gather(
            *(read_answer(reader) for reader, _ in crowd[MAX_CONNECTIONS:])
        )
        assert {(each.status, each.problem["code"]) for each in refused} == {
            (503, "too-many-connections")
        }
        assert all(int(each.headers["retry-after"]) > 0 for each in refused)
        assert len(list(descriptors.iterdir())) <= before + MAX_CONNECTIONS + 10
        reader, writer = crowd[0]
        writer.write(request("GET /healthz HTTP/1.1"))
        assert (await read_answer(reader)).status == 200
        assert (await daemon.ask("GET", "/v1/status")).status == 200
        for _, writer in crowd:
            writer.close()
        async with asyncio.timeout(20), aiohttp.ClientSession() as session:
            while True:
                async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                    if answer.status == 200:
                        break


async def test_head_that_never_ends_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_IDLE_SECONDS", 0.3)
    async with _serving(tmp_path):
        for start in (b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "api.sock"))

            async def drip(writer: asyncio.StreamWriter = writer, start: bytes = start) -> None:
                writer.write(start)
                while start:
                    writer.write(b"X: y\r\n")
                    await asyncio.sleep(0.05)

            dripping = asyncio.ensure_future(drip())
            async with asyncio.timeout(20):
                with suppress(ConnectionError):  # we were just writing
                    assert await reader.read() == b""
            dripping.cancel()
            writer.close()


async def test_body_that_never_ends_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding, "_BODY_SECONDS", 0.2)
    async with _serving(tmp_path):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "api.sock"))
        head = ("Content-Type: application/json", "Content-Length: 20")
        writer.write(request("POST /v1/reload HTTP/1.1", *head, token="dbs_x") + b'{"')
        answer = await read_answer(reader)
        assert (answer.status, answer.problem["code"]) == (408, "request-too-slow")
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()


async def _shown(port: int) -> bytes:
    """The certificate that the API shows to whoever connects now."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return shown


async def test_renewed_certificate_is_taken_up_and_a_bad_one_is_not(tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.issue("admin.example").write(tmp_path, "api")
    port = _free_port()
    listen = {"listen": (f"127.0.0.1:{port}",), "certificate": certificate, "key": key}
    async with _serving(tmp_path, **listen) as serving:
        first = await _shown(port)
        authority.issue("admin.example").write(tmp_path, "api")
        assert await _shown(port) == first
        serving.take_up_certificate()
        second = await _shown(port)
        assert second != first
        authority.issue("other.example").write(tmp_path, "other")[0].rename(certificate)
        with pytest.raises(OSError):
            serving.take_up_certificate()
        assert await _shown(port) == second
