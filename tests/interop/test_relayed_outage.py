"""A peer that makes an `invalid` of our error, as Prosody's own dialback does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from xml.etree.ElementTree import Element

import pytest_asyncio
from conftest import open_world
from host_servers import CAPULET, SIDECAR, HostServer, HostSettings
from raw_stream import DIALBACK, RawStream
from world import MESSAGE, Visit, World, message


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(host_kind: Callable[[HostSettings], HostServer]) -> AsyncIterator[World]:
    async with open_world(host_kind(HostSettings())) as opened:
        yield opened


async def test_next_stanza_federates_again(visit: Visit) -> None:
    peer = await visit.peer()
    juliet = await visit.log_in("juliet")
    asking = await visit.stream(peer)
    heard: list[str | None] = []

    async def verify_while_the_sidecar_is_away(stream: RawStream, element: Element) -> None:
        await visit.sidecar.stop()
        await visit.host.sidecar_gone(SIDECAR)
        await asking.db_verify(
            sender=CAPULET,
            target=peer.domain,
            stream=stream.sent_headers[-1]["id"],
            key=element.text or "",
        )
        heard.append((await asking.receive(DIALBACK + "verify")).get("type"))
        await stream.answer_result(sender=CAPULET, target=peer.domain, type="invalid")

    peer.on_result = verify_while_the_sidecar_is_away
    await juliet.send(message(to=f"romeo@{peer.domain}", text="in vain"))
    bounced = await juliet.receive(MESSAGE)
    assert (bounced.get("type"), heard) == ("error", ["error"])

    peer.on_result = peer.accept_result
    await visit.sidecar.start()
    await juliet.send(message(to=f"romeo@{peer.domain}", text="and now?"))
    assert (await peer.next_stanza()).get("to") == f"romeo@{peer.domain}"
    await visit.decided("issue", sender=CAPULET, target=peer.domain, outcome="valid")
