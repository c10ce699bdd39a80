"""Fixtures for tests on real servers: started once, all in one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from ejabberd_host import EjabberdHost
from host_servers import HostServer, HostSettings
from prosody_host import ProsodyHost
from raw_stream import keys_on_the_wire
from world import Visit, World

KINDS: dict[str, Callable[[HostSettings], HostServer]] = {
    "prosody": ProsodyHost,
    "ejabberd": EjabberdHost,
}
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.interop)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session", params=list(KINDS), ids=lambda kind: f"on-{kind}")
def host_kind(request: pytest.FixtureRequest) -> Callable[[HostSettings], HostServer]:
    """Makes the host server from its settings; `-k on-prosody` runs one kind alone."""
    return KINDS[request.param]


@asynccontextmanager
async def open_world(host: HostServer) -> AsyncIterator[World]:
    """A world, in whose output at the end is no key that was on the wire, and no secret."""
    async with World(host) as world:
        yield world
    assert_silent(world)


def assert_silent(world: World) -> None:
    ours = "\n".join([*world.host.our_lines(0), *world.our_outputs])
    for key in keys_on_the_wire:
        assert len(key) < 16 or key not in ours, "a dialback key is in our output"
    for jid in world.host.settings.sidecars:
        assert world.host.link(jid).secret not in ours, "a component secret is in our output"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(host_kind: Callable[[HostSettings], HostServer]) -> AsyncIterator[World]:
    """The world that most tests share; nobody stops anything in it."""
    async with open_world(host_kind(HostSettings())) as opened:
        yield opened
        assert opened.host.stock_acts(0) == []


@pytest_asyncio.fixture(loop_scope="session")
async def visit(world: World) -> AsyncIterator[Visit]:
    async with Visit(world) as visit:
        yield visit
