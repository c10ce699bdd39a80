"""Links that are up, on both event loops the daemon may run on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from scripted_server import Answers, Connection, ScriptedServer, link_config

from sidecar.component import Link, LinkState, Phase
from sidecar.component.link import Timing

QUICK = Timing(
    connect_seconds=5,
    handshake_seconds=5,
    first_retry_seconds=0.01,
    retry_cap_seconds=0.05,
    close_seconds=2,
)


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy])
def event_loop_policy(request: pytest.FixtureRequest) -> Any:
    return request.param()


@asynccontextmanager
async def running(link: Link) -> AsyncIterator[Link]:
    task = asyncio.ensure_future(link.run())
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(link: Link, holds: Callable[[LinkState], bool]) -> LinkState:
    """Return the link's state once `holds`; fails after ten seconds."""
    async with asyncio.timeout(10):
        while not holds(state := link.state):
            await asyncio.sleep(0.002)
        return state


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as scripted:
        yield scripted


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
async def link(server: ScriptedServer, answers: Answers) -> AsyncIterator[Link]:
    """A link that is trying to connect to `server`."""
    async with running(Link(link_config(server.port), answers, timing=QUICK)) as started:
        yield started


@pytest.fixture
async def connection(server: ScriptedServer, link: Link) -> Connection:
    """The server's end of `link`, which is up."""
    accepted = await server.accept()
    await accepted.open()
    await until(link, lambda state: state.phase is Phase.CONNECTED)
    return accepted
