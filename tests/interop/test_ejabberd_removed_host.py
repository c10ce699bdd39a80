"""A virtual host is removed: a late answer of the sidecar's stays in the server, a ping has one.

A component of ours plays the sidecar, so that the answer comes exactly when it is too late.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest_asyncio
from conftest import open_world
from ejabberd_host import EjabberdHost
from host_servers import CAPULET, SIDECAR, VERONA, HostSettings
from link_requests import NAMESPACE, reply
from raw_component import IQ, ask, connect_component
from world import Visit, World, message

KEY = f"<key xmlns='{NAMESPACE}'>{'5e' * 32}</key>"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world() -> AsyncIterator[World]:
    async with open_world(EjabberdHost(HostSettings())) as opened:
        await opened.sidecar.stop()
        await opened.host.sidecar_gone(SIDECAR)
        yield opened


async def test_late_key_of_a_removed_host_goes_nowhere(visit: Visit) -> None:
    host = visit.host
    assert isinstance(host, EjabberdHost)
    secret = host.link(SIDECAR).secret
    link = await connect_component(SIDECAR, secret, *host.component_place(SIDECAR))
    peer, other = await visit.peer(), await visit.peer()
    escalus, juliet = await visit.log_in("escalus"), await visit.log_in("juliet")
    await escalus.send(message(to=f"romeo@{peer.domain}", text="my last words"))
    late = await link.receive(IQ, where=lambda iq: iq.get("from") == VERONA)

    whole = host.server.settings
    await host.server.configure(replace(whole, hosts=(CAPULET,)))
    try:
        await link.send(reply(late, KEY, secret=secret))
        # Had it gone anywhere, then before this.
        await juliet.send(message(to=f"romeo@{other.domain}", text="mine"))
        asked = await link.receive(IQ, where=lambda iq: iq.get("from") == CAPULET)
        await link.send(reply(asked, KEY, secret=secret))
        await other.next_stanza()
        assert visit.network_asked_for(VERONA) == []
        assert visit.network_asked_for(SIDECAR) == []
    finally:
        await host.server.configure(whole)
        await link.close()


async def test_ping_of_a_removed_host_is_answered(visit: Visit) -> None:
    """Or the sidecar would take the link for dead."""
    host = visit.host
    assert isinstance(host, EjabberdHost)
    secret = host.link(SIDECAR).secret
    link = await connect_component(SIDECAR, secret, *host.component_place(SIDECAR))
    whole = host.server.settings
    await host.server.configure(replace(whole, hosts=(CAPULET,)))
    try:
        ping = "<ping xmlns='urn:xmpp:ping'/>"
        iq = f"<iq type='get' id='alive-2' from='{SIDECAR}' to='{VERONA}'>{ping}</iq>"
        answer = await ask(link, iq, "alive-2")
        assert (answer.get("type"), answer.get("from")) == ("error", VERONA)
        assert visit.network_asked_for(VERONA) == []
    finally:
        await host.server.configure(whole)
        await link.close()
