from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from sidecar.lab.dns import DnsServer


@pytest_asyncio.fixture
async def dns() -> AsyncIterator[DnsServer]:
    async with DnsServer() as server:
        yield server
