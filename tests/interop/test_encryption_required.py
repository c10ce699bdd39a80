"""A host server that demands encryption demands it of dialback too, and of both directions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest_asyncio
from conftest import open_world
from host_servers import CAPULET, HostServer, HostSettings
from raw_stream import DIALBACK, condition
from world import MESSAGE, Visit, World, message


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(host_kind: Callable[[HostSettings], HostServer]) -> AsyncIterator[World]:
    async with open_world(host_kind(HostSettings(s2s_require_encryption=True))) as opened:
        yield opened


async def test_dialback_request_on_cleartext_is_a_policy_violation(visit: Visit) -> None:
    peer = await visit.peer()
    stream = await visit.stream(peer, tls=False)
    await peer.request(stream, target=CAPULET)
    if visit.host.ends_cleartext:
        await stream.wait_ended()
        assert stream.stream_error == "policy-violation"
    else:
        answer = await stream.receive(DIALBACK + "result")
        assert (answer.get("type"), condition(answer)) == ("error", "policy-violation")
    assert visit.decisions("check") == []


async def test_verify_request_on_cleartext_is_answered(visit: Visit) -> None:
    peer = await visit.peer()
    stream = await visit.stream(peer, tls=False)
    await stream.db_verify(sender=CAPULET, target=peer.domain, stream="1", key="5e" * 32)
    if visit.host.ends_cleartext:
        await stream.wait_ended()
        assert stream.stream_error == "policy-violation"
    else:
        assert (await stream.receive(DIALBACK + "verify")).get("type") == "invalid"


async def test_no_key_is_sent_to_a_peer_without_tls(visit: Visit) -> None:
    peer = await visit.peer(tls=False)
    juliet = await visit.log_in("juliet")
    await juliet.send(message(to=f"romeo@{peer.domain}", text="psst"))
    assert (await juliet.receive(MESSAGE)).get("type") == "error"
    assert peer.requests.empty()
    assert visit.decisions() == []


async def test_inside_tls_both_directions_work(visit: Visit) -> None:
    peer = await visit.peer()
    juliet = await visit.log_in("juliet")
    stream = await visit.stream(peer)
    assert (await peer.authenticate(stream, target=CAPULET)).get("type") == "valid"
    await juliet.send(message(to=f"romeo@{peer.domain}", text="psst"))
    await peer.next_stanza()
    assert visit.stock_acts() == []
