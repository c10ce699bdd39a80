"""An Idempotency-Key does its action once, whatever dies in between."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from daemon_process import Daemon
from operation_samples import BODIES, OTHER, OURS

BASE = f"/v1/domains/{OURS}/secrets"


async def _until_answered(daemon: Daemon, path: str, key: str, **options: Any) -> Any:
    """Ask again as a careful client does, as long as the key service is away."""
    while True:
        try:
            answer = await daemon.ask("POST", path, headers={"Idempotency-Key": key}, **options)
        except aiohttp.ClientError:
            continue
        if answer.status != 503:
            assert answer.status == 200, answer
            return answer.content
        assert int(answer.headers["Retry-After"]) >= 1


async def _newest(daemon: Daemon) -> int:
    while True:
        listed = await daemon.ask("GET", BASE)
        if listed.status == 200:
            return int(listed.content["versions"][-1]["number"])


@pytest.mark.parametrize("wait_seconds", [0.0, 0.002, 0.01])
async def test_keyd_killed_under_the_action(tmp_path: Path, wait_seconds: float) -> None:
    """Before, in the midst of, or after its transaction: it is done, and once."""
    async with Daemon(tmp_path) as daemon:
        await daemon.make_secret(OURS)
        for number in range(1, 4):
            before = await _newest(daemon)
            asked = asyncio.ensure_future(_until_answered(daemon, f"{BASE}/rotate", f"k{number}"))
            await asyncio.sleep(wait_seconds)
            daemon.kill_keyd()
            first = await asked
            again = await _until_answered(daemon, f"{BASE}/rotate", f"k{number}")
            assert again == first
            assert first["versions"] == [{"domain": OURS, "number": before + 1}]
            assert await _newest(daemon) == before + 1


async def test_at_the_same_time(shared_daemon: Daemon) -> None:
    await shared_daemon.make_secret(OURS)
    before = await _newest(shared_daemon)
    answers = await asyncio.gather(
        *(_until_answered(shared_daemon, f"{BASE}/rotate", "same") for _ in range(10))
    )
    assert all(answer == answers[0] for answer in answers)
    assert await _newest(shared_daemon) == before + 1


@pytest.mark.parametrize(
    ("action", "body"),
    [("rotate", None), ("revoke", None), ("import", BODIES["secrets-import"])],
)
async def test_each_action_that_takes_one(shared_daemon: Daemon, action: str, body: object) -> None:
    await shared_daemon.make_secret(OURS)
    path, key = f"{BASE}/{action}", f"each-{action}"
    first = await _until_answered(shared_daemon, path, key, json=body)
    newest = await _newest(shared_daemon)
    assert await _until_answered(shared_daemon, path, key, json=body) == first
    assert await _newest(shared_daemon) == newest


async def test_another_request_or_another_caller(shared_daemon: Daemon) -> None:
    """A key belongs to one token, and to one request of it."""
    await shared_daemon.make_secret(OURS, OTHER)
    headers = {"Idempotency-Key": "mine"}
    first = await shared_daemon.ask("POST", f"{BASE}/rotate", headers=headers)
    elsewhere = f"/v1/domains/{OTHER}/secrets/rotate"
    other = await shared_daemon.ask("POST", elsewhere, headers=headers)
    assert (other.status, other.content["code"]) == (422, "repeat-key-reused")
    token = await shared_daemon.make_token("secrets:write")
    second = await shared_daemon.ask("POST", f"{BASE}/rotate", token, headers=headers)
    assert second.content["versions"][0]["number"] == first.content["versions"][0]["number"] + 1


async def test_token_is_made_once_and_told_once(shared_daemon: Daemon) -> None:
    """Whoever lost the answer sees that there is a token, and can revoke it."""
    headers = {"Idempotency-Key": "token"}
    body = {"name": "made once", "scopes": ["status:read"]}
    made = await shared_daemon.ask("POST", "/v1/tokens", headers=headers, json=body)
    again = await shared_daemon.ask("POST", "/v1/tokens", headers=headers, json=body)
    assert made.status == 201
    assert (again.status, again.content["code"]) == (409, "told-once")
    assert "dbs_" not in str(again.content)
    changed = body | {"scopes": ["handshakes:read"]}
    other = await shared_daemon.ask("POST", "/v1/tokens", headers=headers, json=changed)
    assert (other.status, other.content["code"]) == (422, "repeat-key-reused")
    listed = await shared_daemon.ask("GET", "/v1/tokens")
    assert [each["name"] for each in listed.content["items"]].count("made once") == 1


async def test_dry_run_uses_up_no_key(shared_daemon: Daemon) -> None:
    await shared_daemon.make_secret(OURS)
    headers = {"Idempotency-Key": "dry"}
    path = f"{BASE}/rotate"
    told = await shared_daemon.ask("POST", path, headers=headers, json={"dry_run": True})
    done = await shared_daemon.ask("POST", path, headers=headers)
    assert done.content["versions"] == told.content["versions"]
    assert done.content["dry_run"] is False
