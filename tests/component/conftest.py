"""Links that are up."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from running_link import QUICK, running, until
from scripted_server import Answers, Connection, ScriptedServer, link_config

from sidecar.component import Link, Phase


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
