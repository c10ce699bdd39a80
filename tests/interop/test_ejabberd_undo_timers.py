"""What undoing leaves behind on ejabberd for two minutes: timers, which bolting on again stops."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from conftest import open_world
from ejabberd_host import EjabberdHost
from host_servers import SIDECAR, HostSettings
from world import Visit, World


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world() -> AsyncIterator[World]:
    async with open_world(EjabberdHost(HostSettings())) as opened:
        yield opened


async def test_bolting_on_again_stops_the_timers_of_undoing_it(visit: Visit) -> None:
    """Else they would end early what the next undoing leaves behind."""
    host = visit.host
    assert isinstance(host, EjabberdHost)
    others = await host.timers()
    await host.undo()
    ours = await host.timers() - others
    assert ours
    await host.redo()
    await host.sidecar_back(SIDECAR)
    visit.host_mark = host.output.mark()
    visit.turn_to(visit.sidecar)
    assert not ours & await host.timers()
