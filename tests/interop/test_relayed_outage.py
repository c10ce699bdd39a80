"""A peer refuses our key, for an outage of ours or of its own: the next stanza tries again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from xml.etree.ElementTree import Element

import pytest
import pytest_asyncio
from conftest import open_world
from host_servers import CAPULET, SIDECAR, HostServer, HostSettings
from raw_stream import DIALBACK, RawStream
from world import MESSAGE, Visit, World, message


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(host_kind: Callable[[HostSettings], HostServer]) -> AsyncIterator[World]:
    async with open_world(host_kind(HostSettings())) as opened:
        yield opened


@pytest.mark.parametrize("type", ["invalid", "error"])
async def test_refused_key_costs_the_next_stanza_nothing(visit: Visit, type: str) -> None:
    juliet = await visit.log_in("juliet")
    for _ in range(10):  # the next stanza comes while the refused stream is still ending
        peer = await visit.peer()

        async def refuse(stream: RawStream, element: Element, target: str = peer.domain) -> None:
            await stream.answer_result(sender=CAPULET, target=target, type=type)

        peer.on_result = refuse
        await juliet.send(message(to=f"romeo@{peer.domain}", text="in vain"))
        assert (await juliet.receive(MESSAGE)).get("type") == "error"

        peer.on_result = peer.accept_result
        await juliet.send(message(to=f"romeo@{peer.domain}", text="and now?"))
        assert (await peer.next_stanza()).get("to") == f"romeo@{peer.domain}"


async def test_invalid_made_of_our_error_as_stock_prosody_does(visit: Visit) -> None:
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
