"""ejabberd's own `s2s_access`, which Prosody has no counterpart of, decides before we are asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest_asyncio
from conftest import open_world
from ejabberd_host import EjabberdHost
from host_servers import CAPULET, HostSettings
from raw_stream import condition
from world import Visit, World


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world() -> AsyncIterator[World]:
    async with open_world(EjabberdHost(HostSettings())) as opened:
        yield opened


async def test_sender_that_the_access_rule_denies_is_forbidden(visit: Visit) -> None:
    host = visit.host
    assert isinstance(host, EjabberdHost)
    peer = await visit.peer()
    whole = host.server.settings
    denied = {**whole.options, "s2s_access": [{"deny": "all"}]}
    await host.server.configure(replace(whole, options=denied))
    try:
        stream = await visit.stream(peer)
        answer = await peer.authenticate(stream, target=CAPULET)
        assert (answer.get("type"), condition(answer)) == ("error", "forbidden")
        assert visit.decisions("check", sender=peer.domain) == []
    finally:
        await host.server.configure(whole)
    assert (await peer.authenticate(stream, target=CAPULET)).get("type") == "valid"
