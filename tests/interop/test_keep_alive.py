"""A quiet sidecar asks its server whether it is there, and the module lets the answer through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from conftest import open_world
from host_servers import CAPULET, SIDECAR, VERONA, HostServer, HostSettings
from raw_component import ask, connect_component
from world import Visit, World


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(host_kind: Callable[[HostSettings], HostServer]) -> AsyncIterator[World]:
    async with open_world(host_kind(HostSettings())) as opened:
        await opened.sidecar.stop()
        await opened.host.sidecar_gone(SIDECAR)
        yield opened


@pytest.mark.parametrize("domain", [CAPULET, VERONA])
async def test_ping_from_the_sidecars_place_is_answered(visit: Visit, domain: str) -> None:
    secret = visit.host.link(SIDECAR).secret
    link = await connect_component(SIDECAR, secret, *visit.host.component_place(SIDECAR))
    ping = "<ping xmlns='urn:xmpp:ping'/>"
    iq = f"<iq type='get' id='alive-1' from='{SIDECAR}' to='{domain}'>{ping}</iq>"
    assert (await ask(link, iq, "alive-1")).get("from") == domain
    await link.close()
    await visit.host.sidecar_gone(SIDECAR)
