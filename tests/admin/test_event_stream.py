"""Server-Sent Events of a real daemon: live, resumable, restricted, ended with the token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from daemon_process import Daemon
from operation_samples import BODIES, OTHER, OURS


@dataclass
class Received:
    id: str
    kind: str
    data: Any


class Stream:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> Received:
        """The next event that is one; comments are passed over."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            while True:
                line = (await self.response.content.readline()).decode().rstrip("\n")
                if not line and "event" in fields:
                    data = fields["data"]
                    content = json.loads(data) if data.startswith("{") else data
                    return Received(fields.get("id", ""), fields["event"], content)
                name, _, value = line.partition(": ")
                fields[name] = value


@asynccontextmanager
async def following(
    daemon: Daemon, token: str | None = None, **headers: str
) -> AsyncIterator[Stream]:
    headers["Authorization"] = f"Bearer {token or daemon.admin_token}"
    async with (
        daemon.session() as session,
        session.get("/v1/events", headers=headers) as response,
    ):
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        await response.content.readline()
        yield Stream(response)


async def rotate(daemon: Daemon) -> None:
    answer = await daemon.ask("POST", f"/v1/domains/{OURS}/secrets/rotate")
    assert answer.status == 200


async def test_handshakes_and_rotations_are_told_as_they_happen(shared_daemon: Daemon) -> None:
    await shared_daemon.make_secret(OURS)
    async with following(shared_daemon) as stream:
        await rotate(shared_daemon)
        event = await stream.next()
        assert (event.kind, event.data["action"]) == ("secret", "rotated")
        await shared_daemon.ask("POST", "/v1/checks", json=BODIES["checks-run"])
        event = await stream.next()
        assert (event.kind, event.data["peer"]) == ("handshake", "montague.invalid")


async def test_revocation_tells_what_went_and_what_came(shared_daemon: Daemon) -> None:
    await shared_daemon.make_secret(OURS)
    async with following(shared_daemon) as stream:
        answer = await shared_daemon.ask("POST", f"/v1/domains/{OURS}/secrets/revoke")
        event = await stream.next()
        (gone,) = answer.content["versions"]
        assert (event.data["action"], event.data["versions"]) == ("revoked", [gone["number"]])
        assert event.data["successor"] == gone["number"] + 1


async def test_policy_of_a_domain_is_told_when_it_changes(shared_daemon: Daemon) -> None:
    await shared_daemon.make_secret(OURS)
    async with following(shared_daemon) as stream:
        policy = f"/v1/domains/{OURS}"
        await shared_daemon.ask("PATCH", policy, json={"rotate_every": "12h"})
        event = await stream.next()
        assert (event.kind, event.data["domain"]) == ("domain", OURS)
        assert (event.data["rotate_every"], event.data["own"]) == ("12h", ["rotate_every"])
        await shared_daemon.ask("PATCH", policy, json={"rotate_every": None})


async def test_whoever_comes_back_misses_nothing(shared_daemon: Daemon) -> None:
    await shared_daemon.make_secret(OURS)
    async with following(shared_daemon) as stream:
        await rotate(shared_daemon)
        seen = await stream.next()
    await rotate(shared_daemon)
    async with following(shared_daemon, **{"Last-Event-ID": seen.id}) as stream:
        missed = await stream.next()
        assert (missed.kind, missed.data["versions"]) == (
            "secret",
            [seen.data["versions"][0] + 1],
        )


async def test_what_cannot_be_resumed_is_told_as_a_gap(shared_daemon: Daemon) -> None:
    for unknown in ("1-5", "nonsense", "1-99999999"):
        async with following(shared_daemon, **{"Last-Event-ID": unknown}) as stream:
            assert (await stream.next()).kind == "gap"


async def test_token_for_other_domains_hears_nothing_of_ours(shared_daemon: Daemon) -> None:
    await shared_daemon.make_secret(OURS, OTHER)
    token = await shared_daemon.make_token("handshakes:read", domains=[OTHER])
    async with following(shared_daemon, token) as stream:
        await rotate(shared_daemon)
        await shared_daemon.ask("POST", f"/v1/domains/{OTHER}/secrets/rotate")
        event = await stream.next()
        assert event.data["domain"] == OTHER


async def test_stream_ends_within_five_seconds_of_its_tokens_revocation(
    shared_daemon: Daemon,
) -> None:
    token = await shared_daemon.make_token("handshakes:read")
    listed = await shared_daemon.ask("GET", "/v1/tokens")
    id_ = listed.content["items"][-1]["id"]
    async with following(shared_daemon, token) as stream:
        await shared_daemon.ask("DELETE", f"/v1/tokens/{id_}")
        async with asyncio.timeout(5):
            event = await stream.next()
            assert (event.kind, event.data) == ("end", "token-revoked")
            assert await stream.response.content.read() == b""


async def test_stream_needs_a_token_with_its_scope(shared_daemon: Daemon) -> None:
    assert (await shared_daemon.ask("GET", "/v1/events", "")).status == 401
    token = await shared_daemon.make_token("status:read")
    assert (await shared_daemon.ask("GET", "/v1/events", token)).status == 403
