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
