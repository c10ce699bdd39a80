"""With `fallback = "native"` the server's own dialback decides while no sidecar can."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable

import pytest_asyncio
from conftest import open_world
from host_servers import CAPULET, SIDECAR, HostServer, HostSettings
from raw_stream import DIALBACK
from world import Visit, World, message


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(host_kind: Callable[[HostSettings], HostServer]) -> AsyncIterator[World]:
    async with open_world(host_kind(HostSettings(native_fallback=True))) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def outage(visit: Visit) -> AsyncIterator[None]:
    """No sidecar during the test."""
    await visit.sidecar.stop()
    await visit.host.sidecar_gone(SIDECAR)
    yield
    await visit.sidecar.start()


async def test_sidecar_decides_while_it_is_there(visit: Visit) -> None:
    await visit.federate()
    assert len(await visit.decided_in_all(2)) == 2
    assert visit.stock_acts() == []


async def test_stock_dialback_decides_while_it_is_not(visit: Visit, outage: None) -> None:
    await visit.federate()
    assert visit.decisions() == []
    await visit.stock_acted()


async def test_spoof_is_refused_by_stock_dialback_too(visit: Visit, outage: None) -> None:
    mallory, victim = await visit.peer("mallory"), await visit.peer("victim")
    stream = await visit.stream(mallory, sender=victim.domain)
    await stream.db_result(sender=victim.domain, target=CAPULET, key="5e" * 32)
    assert (await stream.receive(DIALBACK + "result")).get("type") == "invalid"


async def test_check_in_flight_is_finished_by_stock_dialback(visit: Visit) -> None:
    peer = await visit.peer()
    peer.on_verify = peer.ignore
    stream = await visit.stream(peer)
    await peer.request(stream, target=CAPULET)
    await peer.next_request("verify")
    peer.on_verify = peer.verify_honestly
    await visit.sidecar.kill()
    assert (await stream.receive(DIALBACK + "result")).get("type") == "valid"
    await visit.stock_acted()
    await visit.sidecar.start()


async def test_key_the_sidecar_issued_is_never_called_invalid_by_the_fallback(
    visit: Visit,
) -> None:
    peer = await visit.peer()
    peer.on_result = peer.ignore
    juliet = await visit.log_in("juliet")
    await juliet.send(message(to=f"romeo@{peer.domain}", text="hello"))
    outbound, element = await peer.next_request("result")
    stream = await visit.stream(peer)
    asked = {
        "sender": CAPULET,
        "target": peer.domain,
        "stream": outbound.sent_headers[-1]["id"],
        "key": element.text or "",
    }
    await visit.sidecar.stop()
    await visit.host.sidecar_gone(SIDECAR)
    await stream.db_verify(**asked)
    assert (await stream.receive(DIALBACK + "verify")).get("type") == "error"
    await visit.sidecar.start()
    await stream.db_verify(**asked)
    assert (await stream.receive(DIALBACK + "verify")).get("type") == "valid"


async def test_sidecar_that_was_silent_is_not_waited_for_again(visit: Visit) -> None:
    """The check follows an issue that nobody answered; waiting for it too would take too long."""
    visit.sidecar.signal(signal.SIGSTOP)
    try:
        await visit.federate()
    finally:
        visit.sidecar.signal(signal.SIGCONT)
    await visit.stock_acted()
    assert visit.decisions("check") == []
