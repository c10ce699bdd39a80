"""A trusted certificate with an `id-on-xmppAddr`, over which ejabberd's own name check dies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest_asyncio
from conftest import open_world
from ejabberd_host import EjabberdHost
from host_servers import CAPULET, PASSWORD, HostSettings
from world import Visit, World, message

from sidecar.lab.certificates import Authority
from sidecar.lab.ejabberd_config import EjabberdSettings

AUTHORITY = Authority()


class TrustingHost(EjabberdHost):
    def server_settings(self) -> EjabberdSettings:
        return replace(super().server_settings(), trusted_pem=AUTHORITY.pem)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world() -> AsyncIterator[World]:
    settings = HostSettings(hosts=(CAPULET,), rooms=(), accounts={f"juliet@{CAPULET}": PASSWORD})
    async with open_world(TrustingHost(settings)) as opened:
        yield opened


async def test_dialback_goes_on_in_both_directions(visit: Visit) -> None:
    peer = await visit.peer()
    peer.certificate = AUTHORITY.issue(peer.domain, xmpp_addresses=[peer.domain])
    peer.client_certificate = peer.certificate
    stream = await visit.stream(peer)
    assert (await peer.authenticate(stream, target=CAPULET)).get("type") == "valid"
    juliet = await visit.log_in("juliet")
    await juliet.send(message(to=f"romeo@{peer.domain}", text="who art thou?"))
    await peer.next_stanza()
    await visit.decided("check", sender=peer.domain, target=CAPULET, outcome="valid")
    await visit.decided("issue", sender=CAPULET, target=peer.domain, outcome="valid")
    asked = visit.host.output.find(r"Send XML.*<check .*chain='valid'", visit.host_mark)
    assert asked, "the server does not trust this certificate, and the test shows nothing"
