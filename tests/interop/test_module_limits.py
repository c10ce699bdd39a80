"""Where the module itself says no, without asking anybody."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from conftest import open_world
from ejabberd_host import EjabberdHost
from host_servers import CAPULET, HostServer, HostSettings
from raw_stream import DIALBACK, condition
from world import MESSAGE, Visit, World, message

RESULT, VERIFY = DIALBACK + "result", DIALBACK + "verify"
VERIFY_LIMIT = 256


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(host_kind: Callable[[HostSettings], HostServer]) -> AsyncIterator[World]:
    async with open_world(host_kind(HostSettings())) as opened:
        yield opened


async def test_pending_verify_requests_of_one_stream_are_capped(visit: Visit) -> None:
    peer = await visit.peer()
    stream = await visit.stream(peer)
    if isinstance(visit.host, EjabberdHost):  # Erlang leaves out lines when they come too fast
        await visit.host.server.ctl("set_loglevel", "info")
    before = visit.host.output.mark()
    visit.sidecar.signal(signal.SIGSTOP)
    try:
        for number in range(VERIFY_LIMIT + 3):
            await stream.db_verify(
                sender=CAPULET, target=peer.domain, stream=f"s{number}", key="5e" * 32
            )
        for number in range(VERIFY_LIMIT, VERIFY_LIMIT + 3):
            refused = await stream.receive(VERIFY)
            assert (refused.get("id"), condition(refused)) == (f"s{number}", "resource-constraint")
    finally:
        visit.sidecar.signal(signal.SIGCONT)
    for _ in range(VERIFY_LIMIT):
        assert (await stream.receive(VERIFY)).get("type") in ("invalid", "error")
    assert not stream.ended
    if isinstance(visit.host, EjabberdHost):
        # What a peer can cause without end is in the log once.
        said = r"\[info\].*too many pending on this stream"
        await visit.host.output.wait_for(said, after=before)
        assert len(visit.host.output.find(said, before)) == 1
        await visit.host.server.ctl("set_loglevel", "debug")


@pytest.mark.parametrize("unusable", ["i" * 257, "two words", "caf\u00e9"])
async def test_no_key_for_a_stream_id_that_is_none(visit: Visit, unusable: str) -> None:
    peer = await visit.peer()
    honest = peer.new_stream_id
    peer.new_stream_id = lambda: unusable
    juliet = await visit.log_in("juliet")
    await juliet.send(message(to=f"romeo@{peer.domain}", text="in vain"))
    assert (await juliet.receive(MESSAGE)).get("type") == "error"
    assert peer.requests.empty()

    peer.new_stream_id = honest
    await juliet.send(message(to=f"romeo@{peer.domain}", text="and now?"))
    await peer.next_stanza()
