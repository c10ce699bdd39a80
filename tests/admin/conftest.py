"""A daemon that several tests share: starting one takes a second."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from daemon_process import Daemon


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared_daemon(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path_factory.mktemp("daemon")) as daemon:
        yield daemon


@pytest_asyncio.fixture
async def ruled_daemon(shared_daemon: Daemon) -> AsyncIterator[Daemon]:
    """The shared daemon, without rules about peers again afterwards."""
    yield shared_daemon
    rules = await shared_daemon.ask("GET", "/v1/peer-rules?limit=500")
    for rule in rules.content["items"]:
        await shared_daemon.ask("DELETE", f"/v1/peers/{rule['domain']}")
