"""Whatever is done to the admin side, every handshake beside it is valid."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from daemon_process import Daemon

from bench.link_server import LinkServer
from sidecar.lab.certificates import Authority

RATE = 100.0


@asynccontextmanager
async def flowing(link: LinkServer, daemon: Daemon) -> AsyncIterator[None]:
    """Handshakes at a steady rate from here to the end; each is valid, on one connection."""
    await link.linked()
    running = asyncio.ensure_future(link.shake_hands(RATE))
    try:
        yield
        await _more(link, 10)  # they still flow
    finally:
        running.cancel()
    assert link.failed == 0
    status = await daemon.ask("GET", "/v1/status")
    first = status.content["links"][0]
    assert (first["phase"], first["connects"]) == ("connected", 1)


async def _more(link: LinkServer, count: int) -> None:
    wanted = len(link.seconds) + count
    async with asyncio.timeout(30):
        while len(link.seconds) < wanted:
            await asyncio.sleep(0.01)


async def test_reload_with_new_links_domains_limits_and_certificates(tmp_path: Path) -> None:
    certificate, key = Authority().issue("capulet.example").write(tmp_path, "capulet")
    async with LinkServer() as link, Daemon(tmp_path, link=link) as daemon:
        text = daemon.config_path.read_text()
        second = '[[link]]\njid = "dialback.verona.example"\nport = 1\nsecret_file = "secret"\n'
        second += 'domains = ["verona.example"]\n'
        identity = f'[[certificate]]\ndomains = ["*"]\ncertificate = "{certificate}"\n'
        identity += f'key = "{key}"\n'
        limits = 'nameservers = ["127.0.0.1:2"]\ntimeout_seconds = 3\n'
        limits += "address_connections_per_second = 5\n"
        async with flowing(link, daemon):
            for changed in (
                text.replace('"*.capulet.example"', '"more.example"'),
                text + second,
                text.replace('nameservers = ["127.0.0.1:1"]\n', limits),
                text + identity,
                text,
            ):
                daemon.config_path.write_text(changed)
                answer = await daemon.ask("POST", "/v1/reload")
                assert answer.status == 200, answer
                await _more(link, 5)
            for broken in (text + "[[link]]\n", text + "[", text.replace('"secret"', '"none"')):
                daemon.config_path.write_text(broken)
                answer = await daemon.ask("POST", "/v1/reload")
                assert (answer.status, answer.content["code"]) == (422, "config-invalid")
                assert answer.content["problems"]
                await _more(link, 5)
            daemon.config_path.write_text(text)


@pytest.mark.parametrize("fault", ["garbage", "directory", "locked"])
async def test_history_that_cannot_be_used(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "state" / "history.sqlite3"
    path.parent.mkdir(mode=0o700)
    lock: sqlite3.Connection | None = None
    if fault == "garbage":
        path.write_bytes(b"this was a database once" * 1000)
    elif fault == "directory":
        path.mkdir()
    else:
        lock = sqlite3.connect(path, isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
    async with LinkServer() as link, Daemon(tmp_path, link=link) as daemon:
        async with flowing(link, daemon):
            await _more(link, 60)  # past the first write of the history
            status = await daemon.ask("GET", "/v1/status")
            listed = await daemon.ask("GET", "/v1/handshakes")
            if fault == "garbage":  # it began anew
                assert status.content["history"]["fault"] is None
                assert listed.status == 200
            else:
                assert status.content["history"]["fault"]
                assert status.content["history"]["handshakes"] is None
                assert any("history" in warning for warning in status.content["warnings"])
                assert (listed.status, listed.content["code"]) == (503, "history-unavailable")
    if lock is not None:
        lock.close()


async def test_crowd_of_followers_and_a_flood_of_requests(tmp_path: Path) -> None:
    """64 event streams, more are told to come later, and clients that ask without a pause."""
    async with LinkServer() as link, Daemon(tmp_path, link=link) as daemon:
        headers = {"Authorization": f"Bearer {daemon.admin_token}"}
        async with (
            flowing(link, daemon),
            aiohttp.ClientSession(
                "http://localhost",
                connector=aiohttp.UnixConnector(str(daemon.socket), limit=0),
                headers=headers,
            ) as session,
        ):
            streams = [await session.get("/v1/events") for _ in range(64)]
            assert {stream.status for stream in streams} == {200}
            async with session.get("/v1/events") as late:
                assert late.status == 429
                assert (await late.json(content_type=None))["code"] == "too-many-streams"
                assert int(late.headers["Retry-After"]) > 0

            async def flood() -> None:
                for _ in range(25):
                    async with session.get("/v1/handshakes?limit=500") as answer:
                        assert answer.status == 200

            await asyncio.gather(*(flood() for _ in range(8)))
            for stream in streams:  # everybody hears of handshakes
                async with asyncio.timeout(30):
                    while b"event: handshake\n" not in await stream.content.readline():
                        pass
                stream.close()
