"""Bolting on and undoing it, the server running: one file, and stock dialback is back at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest_asyncio
from conftest import open_world
from ejabberd_host import EjabberdHost
from host_servers import CAPULET, SIDECAR, HostServer, HostSettings
from raw_stream import DIALBACK, condition
from world import Visit, World, message

_UNREADABLE = "SSL_CTX_use_certificate_file failed"
"""What a stream of ejabberd's says that begins while a reload writes its certificates anew."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(host_kind: Callable[[HostSettings], HostServer]) -> AsyncIterator[World]:
    async with open_world(host_kind(HostSettings())) as opened:
        yield opened


async def redo(visit: Visit) -> None:
    await visit.host.redo()
    await visit.host.sidecar_back(SIDECAR)
    visit.host_mark = visit.host.output.mark()
    visit.turn_to(visit.sidecar)


async def test_stock_dialback_takes_over_and_gives_back(visit: Visit) -> None:
    await visit.federate()
    assert len(await visit.decided_in_all(2)) == 2
    assert visit.stock_acts() == []

    await visit.host.undo()
    async with asyncio.timeout(10):  # hung up on: it need not find out by its keep-alive
        await visit.host.sidecar_gone(SIDECAR)
    visit.turn_to(visit.sidecar)
    await visit.federate()
    assert visit.decisions() == []
    await visit.stock_acted()

    await redo(visit)
    await visit.federate()
    assert len(await visit.decided_in_all(2)) == 2
    assert visit.stock_acts() == []


async def test_check_in_flight_is_finished_by_stock_dialback(visit: Visit) -> None:
    peer = await visit.peer()
    peer.on_verify = peer.ignore
    stream = await visit.stream(peer)
    await peer.request(stream, target=CAPULET)
    await peer.next_request("verify")

    peer.on_verify = peer.verify_honestly
    await visit.host.undo()
    answer = await stream.receive(DIALBACK + "result")
    if visit.host.output.find(_UNREADABLE, visit.host_mark):
        assert (answer.get("type"), condition(answer)) == ("error", "remote-server-not-found")
    else:
        assert answer.get("type") == "valid"
    await visit.stock_acted()
    await redo(visit)


async def test_key_of_the_sidecar_under_way_after_undoing_it(visit: Visit) -> None:
    """Only the sidecar knows it; ejabberd's module leaves somebody behind who says so."""
    peer = await visit.peer()
    peer.on_result = peer.ignore
    juliet = await visit.log_in("juliet")
    await juliet.send(message(to=f"romeo@{peer.domain}", text="hello"))
    outbound, element = await peer.next_request("result")

    await visit.host.undo()
    stream = await visit.stream(peer)
    await stream.db_verify(
        sender=CAPULET,
        target=peer.domain,
        stream=outbound.sent_headers[-1]["id"],
        key=element.text or "",
    )
    expected = "error" if isinstance(visit.host, EjabberdHost) else "invalid"
    assert (await stream.receive(DIALBACK + "verify")).get("type") == expected
    await redo(visit)


async def test_key_of_stock_dialback_under_way_is_still_accepted_after_bolting_on(
    visit: Visit,
) -> None:
    await visit.host.undo()
    peer = await visit.peer()
    peer.on_result = peer.ignore
    juliet = await visit.log_in("juliet")
    await juliet.send(message(to=f"romeo@{peer.domain}", text="hello"))
    outbound, element = await peer.next_request("result")

    await redo(visit)
    stream = await visit.stream(peer)
    for key, expected in (("5e" * 32, "invalid"), (element.text or "", "valid")):
        await stream.db_verify(
            sender=CAPULET,
            target=peer.domain,
            stream=outbound.sent_headers[-1]["id"],
            key=key,
        )
        assert (await stream.receive(DIALBACK + "verify")).get("type") == expected
    await peer.accept_result(outbound, element)
    await peer.next_stanza()
