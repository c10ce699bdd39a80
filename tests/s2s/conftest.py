from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from scripted_authority import server_context

from sidecar.lab.certificates import self_signed
from sidecar.lab.dns import DnsServer
from sidecar.s2s.checker import Checker
from sidecar.s2s.resolver import Resolver


@pytest_asyncio.fixture
async def dns() -> AsyncIterator[DnsServer]:
    async with DnsServer() as server:
        yield server


@pytest_asyncio.fixture
async def resolver(dns: DnsServer) -> AsyncIterator[Resolver]:
    resolver = Resolver([dns.nameserver], timeout_seconds=2.0, random=lambda: 0.0)
    yield resolver
    await resolver.close()


@pytest.fixture
def checker(resolver: Resolver) -> Checker:
    return Checker(
        resolver, allow_private_addresses=True, connect_seconds=1.0, negotiation_seconds=1.0
    )


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return server_context(self_signed("capulet.example"), tmp_path_factory.mktemp("tls"))
