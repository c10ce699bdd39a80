"""Pages of lists stay whole while what is listed grows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from daemon_process import Daemon

from bench.link_server import LinkServer


async def _pages(daemon: Daemon, path: str, option: str, limit: int) -> AsyncIterator[list[Any]]:
    following = ""
    while following is not None:
        more = f"&{option}={following}" if following else ""
        answer = await daemon.ask("GET", f"{path}?limit={limit}{more}")
        assert answer.status == 200, answer
        yield answer.content["items"]
        following = answer.content["next"]


async def test_no_handshake_is_twice_or_missing_while_others_arrive(tmp_path: Path) -> None:
    async with LinkServer() as link, Daemon(tmp_path, link=link) as daemon:
        await link.linked()
        running = asyncio.ensure_future(link.shake_hands(100))
        while (await daemon.ask("GET", "/v1/handshakes?limit=60")).content["next"] is None:
            await asyncio.sleep(0.1)
        seen: list[int] = []
        async for items in _pages(daemon, "/v1/handshakes", "cursor", 7):
            seen += [each["id"] for each in items]
        running.cancel()
        newest = (await daemon.ask("GET", "/v1/handshakes?limit=1")).content["items"][0]["id"]
        assert newest > seen[0]  # others did arrive
        assert seen == list(range(seen[0], 0, -1))


async def test_no_peer_is_twice_or_missing(tmp_path: Path) -> None:
    async with LinkServer() as link, Daemon(tmp_path, link=link) as daemon:
        await link.linked()
        running = asyncio.ensure_future(link.shake_hands(100))
        while len(link.seconds) < 60:
            await asyncio.sleep(0.1)
        before = {f"d{number}.example" for number in range(50)}
        seen: list[str] = []
        async for items in _pages(daemon, "/v1/peers", "after", 7):
            seen += [each["peer"] for each in items]
        running.cancel()
        assert len(seen) == len(set(seen))
        assert before <= set(seen)


async def test_filters_and_pages_together(tmp_path: Path) -> None:
    """By peer, outcome and time."""
    async with LinkServer() as link, Daemon(tmp_path, link=link) as daemon:
        await link.linked()
        for number in range(6):
            body = {
                "sender": f"p{number % 2}.invalid",
                "target": "capulet.example",
                "stream": f"S{number}",
                "key": "b483",
            }
            assert (await daemon.ask("POST", "/v1/checks", json=body)).status == 200
        path = "/v1/handshakes?peer=p1.invalid&outcome=error&limit=2"
        first = (await daemon.ask("GET", path)).content
        rest = (await daemon.ask("GET", f"{path}&cursor={first['next']}")).content
        streams = [each["stream"] for each in (*first["items"], *rest["items"])]
        assert (streams, rest["next"]) == (["S5", "S3", "S1"], None)
        third = first["items"][1]["started"]
        since = await daemon.ask("GET", f"/v1/handshakes?since={third}")
        assert [each["stream"] for each in since.content["items"]] == ["S5", "S4", "S3"]
        until = await daemon.ask("GET", f"/v1/handshakes?until={third}")
        assert [each["stream"] for each in until.content["items"]] == ["S2", "S1", "S0"]
        none = await daemon.ask("GET", "/v1/handshakes?outcome=valid&peer=p1.invalid")
        assert none.content == {"items": [], "next": None}


async def test_request_id_is_echoed_and_logged(tmp_path: Path) -> None:
    async with Daemon(tmp_path) as daemon:
        given = {"X-Request-Id": "ticket-4711"}
        answer = await daemon.ask("POST", "/v1/reload", headers=given)
        assert answer.headers["X-Request-Id"] == "ticket-4711"
        line = await daemon.process.output.wait_for("ticket-4711", timeout_seconds=10)
        assert "POST '/v1/reload': 200" in line.text
        refused = await daemon.ask("POST", "/v1/tokens", headers=given, json={"name": 5})
        assert refused.content["request_id"] == "ticket-4711"
