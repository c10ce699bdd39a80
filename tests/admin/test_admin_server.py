"""The API's frame: alive, ready, metrics, errors as problems, names that are not ours."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sidecar.admin.server import AdminServer
from sidecar.admin.views import Health
from sidecar.config import AdminConfig
from sidecar.errors import KeyServiceUnavailable
from sidecar.keys.messages import Reply as KeydReply
from sidecar.keys.messages import Request as KeydRequest
from sidecar.lab.certificates import Authority
from sidecar.operations import Parts
from sidecar.operations.events import Events


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class NoKeys:
    """A key service that is not there."""

    connected = False

    async def ask(self, request: KeydRequest, *, timeout_seconds: float) -> KeydReply:
        raise KeyServiceUnavailable("not connected to the key service")


def parts() -> Parts:
    """No operation gets past the token here, so the rest is never looked at."""
    nobody: Any = None
    return Parts(NoKeys(), nobody, nobody, nobody, Events(1), nobody, nobody)


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    json: Any
    text: str


@dataclass
class Api:
    """An API to ask over TCP, or over its Unix socket."""

    server: AdminServer
    path: Path
    base: str
    health: dict[str, bool]

    async def ask(self, method: str, path: str, *, unix: bool = False, **options: Any) -> Reply:
        connector = aiohttp.UnixConnector(str(self.path)) if unix else aiohttp.TCPConnector()
        base = "http://localhost" if unix else self.base
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, base + path, **options) as response,
        ):
            is_json = "json" in response.headers.get("Content-Type", "")
            return Reply(
                response.status,
                response.headers,
                await response.json(content_type=None) if is_json else None,
                await response.text(),
            )


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    port = _free_port()
    health = {"key service": True}
    path = tmp_path / "api.sock"
    server = AdminServer(
        AdminConfig(listen=(f"127.0.0.1:{port}",), hosts=("admin.example",)),
        path,
        parts(),
        health=lambda: Health(health),
        exposition=lambda _: b"# nothing\n",
    )
    await server.start()
    yield Api(server, path, f"http://127.0.0.1:{port}", health)
    await server.close()


@pytest.mark.parametrize("unix", [False, True])
async def test_alive_ready_and_metrics_need_no_token_on_this_machine(api: Api, unix: bool) -> None:
    assert (await api.ask("GET", "/healthz", unix=unix)).json == {"status": "alive"}
    ready = await api.ask("GET", "/readyz", unix=unix)
    assert (ready.status, ready.json["status"]) == (200, "ready")
    metrics = await api.ask("GET", "/metrics", unix=unix)
    assert metrics.text == "# nothing\n"
    assert metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4")


async def test_not_ready_names_the_part_that_is_missing(api: Api) -> None:
    api.health["key service"] = False
    ready = await api.ask("GET", "/readyz")
    assert ready.status == 503
    assert ready.json == {"status": "not-ready", "parts": {"key service": False}}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/v1/%2e%2e/x", 404, "not-found"),
        ("POST", "/healthz", 405, "method-not-allowed"),
        ("DELETE", "/metrics", 405, "method-not-allowed"),
    ],
)
async def test_every_error_is_a_problem_document(
    api: Api, method: str, path: str, status: int, code: str
) -> None:
    reply = await api.ask(method, path)
    assert reply.status == reply.json["status"] == status
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json["code"] == code
    assert reply.json["type"] == f"urn:dialback-sidecar:problem:{code}"
    assert reply.json["title"]
    assert reply.json["request_id"] == reply.headers["X-Request-Id"]
    if status == 405:
        assert "GET" in reply.headers["Allow"]


async def test_without_the_key_service_nobody_is_let_in(api: Api) -> None:
    headers = {"Authorization": "Bearer dbs_x"}
    reply = await api.ask("GET", "/v1/status", headers=headers)
    assert (reply.status, reply.json["code"]) == (503, "key-service-unavailable")
    assert reply.headers["Retry-After"] == "1"
    reply = await api.ask("GET", "/v1/status")
    assert (reply.status, reply.json["code"]) == (401, "token-missing")
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")


async def test_request_id_is_echoed_when_it_is_a_good_one(api: Api) -> None:
    good = await api.ask("GET", "/healthz", headers={"X-Request-Id": "abc-123"})
    assert good.headers["X-Request-Id"] == "abc-123"
    bad = await api.ask("GET", "/healthz", headers={"X-Request-Id": "a b" * 40})
    assert len(bad.headers["X-Request-Id"]) == 16


async def test_answers_are_never_stored(api: Api) -> None:
    assert (await api.ask("GET", "/healthz")).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
async def test_a_name_that_is_not_ours_is_refused(api: Api, host: str) -> None:
    reply = await api.ask("GET", "/healthz", headers={"Host": host})
    assert (reply.status, reply.json["code"]) == (403, "host-not-allowed")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:99", "[::1]:99", "admin.example"])
async def test_our_own_names_are_taken(api: Api, host: str) -> None:
    assert (await api.ask("GET", "/healthz", headers={"Host": host})).status == 200


async def test_pages_of_other_sites_cannot_ask(api: Api) -> None:
    reply = await api.ask("GET", "/healthz", headers={"Origin": "https://evil.example"})
    assert (reply.status, reply.json["code"]) == (403, "origin-not-allowed")
    ours = {"Host": "localhost:1", "Origin": "http://localhost:1"}
    assert (await api.ask("GET", "/healthz", headers=ours)).status == 200


async def test_socket_is_for_its_user_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    server = AdminServer(
        AdminConfig(listen=()), path, parts(), health=lambda: Health({}), exposition=lambda _: b""
    )
    await server.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await server.close()
    assert not path.exists()


async def test_address_that_is_taken_costs_the_api_there_and_nothing_else(api: Api) -> None:
    address = api.base.removeprefix("http://")
    second = AdminServer(
        AdminConfig(listen=(address,)),
        api.path,
        parts(),
        health=lambda: Health({}),
        exposition=lambda _: b"",
    )
    await second.start()
    assert second.failed == [address, str(api.path)]
    await second.close()
    assert (await api.ask("GET", "/healthz", unix=True)).status == 200


async def test_socket_of_a_daemon_that_is_gone_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = AdminServer(
        AdminConfig(listen=()), path, parts(), health=lambda: Health({}), exposition=lambda _: b""
    )
    await server.start()
    assert server.failed == []
    await server.close()


async def test_tls_when_it_is_configured(tmp_path: Path) -> None:
    certificate, key = Authority().issue("admin.example").write(tmp_path, "api")
    port = _free_port()
    server = AdminServer(
        AdminConfig(listen=(f"127.0.0.1:{port}",), certificate=certificate, key=key),
        tmp_path / "api.sock",
        parts(),
        health=lambda: Health({}),
        exposition=lambda _: b"",
    )
    await server.start()
    async with aiohttp.ClientSession() as session:
        async with session.get(f"https://127.0.0.1:{port}/healthz", ssl=False) as response:
            assert response.status == 200
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://127.0.0.1:{port}/healthz")
    await server.close()


async def test_slow_client_does_not_hold_up_the_end(api: Api) -> None:
    reader, writer = await asyncio.open_unix_connection(str(api.path))
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"}")
    writer.write(b"GET /healthz HTTP/1.1\r\n")
    async with asyncio.timeout(20):
        await api.server.close()
        assert await reader.read() == b""
    writer.close()
