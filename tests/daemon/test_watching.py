"""What the daemon sees for itself is told once, and one bad look does not end the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from sidecar.daemon import watching
from sidecar.daemon.watching import Watching
from sidecar.errors import KeyServiceUnavailable
from sidecar.keys.messages import ListedVersion
from sidecar.operations.events import Event, Events
from sidecar.operations.secrets import SecretChange

OURS = "capulet.example"


def _active(number: int) -> ListedVersion:
    return ListedVersion(OURS, number, "ledger", "active", 0, None, None, None, None, 0, None)


async def _next(events: Events) -> Sequence[Event]:
    following = events.follow("1-0", pause_seconds=0.01)
    return await anext(following)


async def test_rotation_by_schedule_is_told_and_one_over_the_api_only_once() -> None:
    nobody: Any = None
    events = Events(1)
    watch = Watching(nobody, list, events)
    watch._tell_secrets([_active(1)])
    watch._first = False
    watch._tell_secrets([_active(2)])
    events.publish("secret", SecretChange("rotated", OURS, [3]), OURS)
    watch._tell_secrets([_active(3)])
    events.publish("secret", SecretChange("revoked", OURS, [3], 4), OURS)
    watch._tell_secrets([_active(4)])
    told = [event.make() for event in await _next(events)]
    assert told == [
        SecretChange("changed", OURS, [2]),
        SecretChange("rotated", OURS, [3]),
        SecretChange("revoked", OURS, [3], 4),
    ]


async def test_look_that_fails_is_logged_and_the_next_one_made(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Gone:
        async def ask(self, *_: object, **__: object) -> Any:
            raise KeyServiceUnavailable("gone")

    looks = asyncio.Event()
    asked = 0

    def links() -> Any:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise RuntimeError("broken")
        looks.set()
        return []

    monkeypatch.setattr(watching, "_LINK_SECONDS", 0.01)
    keys: Any = Gone()
    watch = Watching(keys, links, Events(1))
    watch.start()
    async with asyncio.timeout(10):
        await looks.wait()
    await watch.close()
    assert "cannot look at links" in caplog.text
