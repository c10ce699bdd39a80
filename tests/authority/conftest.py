from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
import uvloop

from sidecar.lab.dns import DnsServer


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the daemon runs on; pytest-asyncio before 1.4 stays with asyncio's own."""
    return {"uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture
async def dns() -> AsyncIterator[DnsServer]:
    async with DnsServer() as server:
        yield server
