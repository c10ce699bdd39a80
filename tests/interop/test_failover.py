"""Two sidecars with one key service behind one server: one is enough, whichever it is."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable

import pytest_asyncio
from conftest import open_world
from host_servers import CAPULET, SIDECAR, HostServer, HostSettings
from raw_stream import DIALBACK
from world import Visit, World, message

SECOND = "dialback2.capulet.example"
RESULT, VERIFY = DIALBACK + "result", DIALBACK + "verify"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(host_kind: Callable[[HostSettings], HostServer]) -> AsyncIterator[World]:
    settings = HostSettings(sidecars=(SIDECAR, SECOND))
    async with open_world(host_kind(settings)) as opened:
        yield opened


async def test_second_sidecar_takes_over_and_confirms_the_keys_of_the_first(
    visit: Visit,
) -> None:
    first, second = visit.sidecar, visit.world.sidecars[SECOND]
    await visit.federate_by_sidecar()
    peer = await visit.peer()
    peer.on_result = peer.ignore
    juliet = await visit.log_in("juliet")
    await juliet.send(message(to=f"romeo@{peer.domain}", text="hello"))
    outbound, element = await peer.next_request("result")

    await first.kill()
    await visit.host.sidecar_gone(SIDECAR)
    visit.turn_to(second)
    stream = await visit.stream(peer)
    await stream.db_verify(
        sender=CAPULET,
        target=peer.domain,
        stream=outbound.sent_headers[-1]["id"],
        key=element.text or "",
    )
    assert (await stream.receive(VERIFY)).get("type") == "valid"
    await visit.federate_by_sidecar()

    await first.start()
    visit.turn_to(first)
    await visit.federate_by_sidecar()


async def test_check_of_a_killed_sidecar_is_answered_by_the_other(visit: Visit) -> None:
    first, second = visit.sidecar, visit.world.sidecars[SECOND]
    visit.turn_to(second)
    peer = await visit.peer()
    peer.on_verify = peer.ignore
    stream = await visit.stream(peer)
    await peer.request(stream, target=CAPULET)
    await peer.next_request("verify")

    await first.kill()
    asking, element = await peer.next_request("verify")
    await peer.verify_honestly(asking, element)
    assert (await stream.receive(RESULT)).get("type") == "valid"
    await visit.decided("check", sender=peer.domain, target=CAPULET, outcome="valid")
    await first.start()


async def test_mute_sidecar_costs_one_request_a_moment_and_nobody_an_error(visit: Visit) -> None:
    first, second = visit.sidecar, visit.world.sidecars[SECOND]
    visit.turn_to(second)
    first.signal(signal.SIGSTOP)
    try:
        peer = await visit.peer()
        juliet = await visit.log_in("juliet")
        await juliet.send(message(to=f"romeo@{peer.domain}", text="hello"))
        await peer.next_stanza()
        await visit.decided("issue", sender=CAPULET, target=peer.domain, outcome="valid")
        stream = await visit.stream(peer)
        assert (await peer.authenticate(stream, target=CAPULET)).get("type") == "valid"
        assert visit.stock_acts() == []
    finally:
        first.signal(signal.SIGCONT)
