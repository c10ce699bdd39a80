"""A part of ours is gone: errors at once, no hang, and the next stanza federates by itself.

`AT_ONCE_SECONDS` is far below every timeout a request could wait for instead (15 s for a check
in the module, 12 s in the sidecar). Each test leaves everything running.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable

import pytest_asyncio
from conftest import open_world
from host_servers import CAPULET, SIDECAR, HostServer, HostSettings
from link_requests import every_job, request
from processes import child_running
from raw_component import FakeServer, ask
from raw_peer import RawPeer
from raw_stream import DIALBACK, RawStream, condition
from world import MESSAGE, Visit, World, message

AT_ONCE_SECONDS = 6
KEYD_IS_BACK = "(?<!not )connected to the key service"
RESULT, VERIFY = DIALBACK + "result", DIALBACK + "verify"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(host_kind: Callable[[HostSettings], HostServer]) -> AsyncIterator[World]:
    async with open_world(host_kind(HostSettings())) as opened:
        yield opened


async def assert_refused_for_now(peer: RawPeer, stream: RawStream) -> None:
    await peer.request(stream, target=CAPULET)
    answer = await stream.receive(RESULT, timeout_seconds=AT_ONCE_SECONDS)
    assert (answer.get("type"), condition(answer)) == ("error", "internal-server-error")
    assert not stream.ended


async def assert_bounces(juliet: RawStream, to: str) -> None:
    await juliet.send(message(to=to, text="anyone?"))
    bounced = await juliet.receive(MESSAGE, timeout_seconds=AT_ONCE_SECONDS)
    assert bounced.get("type") == "error"


async def test_stopped_sidecar_gives_errors_and_a_new_one_serves_the_same_streams(
    visit: Visit,
) -> None:
    peer, unknown = await visit.peer(), await visit.peer("unknown")
    juliet = await visit.log_in("juliet")
    stream = await visit.stream(peer)
    shown = await visit.key_shown_to(await visit.peer("shown"))

    await visit.sidecar.stop()
    await visit.host.sidecar_gone(SIDECAR)
    await assert_refused_for_now(peer, stream)
    await assert_bounces(juliet, f"romeo@{unknown.domain}")
    await stream.db_verify(**shown)
    verified = await stream.receive(VERIFY, timeout_seconds=AT_ONCE_SECONDS)
    assert verified.get("type") == "error"
    assert visit.network_asked_for(SIDECAR) == []

    await visit.sidecar.start()
    assert (await peer.authenticate(stream, target=CAPULET)).get("type") == "valid"
    await stream.db_verify(**shown)
    assert (await stream.receive(VERIFY)).get("type") == "valid"
    await juliet.send(message(to=f"romeo@{unknown.domain}", text="and now?"))
    await unknown.next_stanza()
    await visit.federate_by_sidecar()


async def test_sidecar_killed_while_its_check_waits_for_a_slow_peer(visit: Visit) -> None:
    peer = await visit.peer()
    peer.on_verify = peer.ignore
    stream = await visit.stream(peer)
    await peer.request(stream, target=CAPULET)
    await peer.next_request("verify")

    await visit.sidecar.kill()
    answer = await stream.receive(RESULT, timeout_seconds=AT_ONCE_SECONDS)
    assert (answer.get("type"), condition(answer)) == ("error", "internal-server-error")

    peer.on_verify = peer.verify_honestly
    await visit.sidecar.start()
    assert (await peer.authenticate(stream, target=CAPULET)).get("type") == "valid"
    await visit.federate_by_sidecar()


async def test_sidecar_killed_with_every_kind_of_request_in_flight(visit: Visit) -> None:
    peer, unknown = await visit.peer(), await visit.peer("unknown")
    juliet = await visit.log_in("juliet")
    stream = await visit.stream(peer)
    shown = await visit.key_shown_to(await visit.peer("shown"))

    visit.sidecar.signal(signal.SIGSTOP)
    await juliet.send(message(to=f"romeo@{unknown.domain}", text="in flight"))
    await unknown.greeted()
    await peer.request(stream, target=CAPULET)
    await stream.db_verify(**shown)
    await stream.db_result(sender=peer.domain, target="nowhere.example", key="00")
    await stream.receive(RESULT, where=lambda e: e.get("from") == "nowhere.example")
    assert stream.elements == []

    await visit.sidecar.kill()
    bounced = await juliet.receive(MESSAGE, timeout_seconds=AT_ONCE_SECONDS)
    assert bounced.get("type") == "error"
    for name in (RESULT, VERIFY):
        answer = await stream.receive(name, timeout_seconds=AT_ONCE_SECONDS)
        assert (answer.get("type"), condition(answer)) == ("error", "internal-server-error")

    await visit.sidecar.start()
    assert (await peer.authenticate(stream, target=CAPULET)).get("type") == "valid"
    await stream.db_verify(**shown)
    assert (await stream.receive(VERIFY)).get("type") == "valid"
    await juliet.send(message(to=f"romeo@{unknown.domain}", text="and now?"))
    await unknown.next_stanza()
    await visit.federate_by_sidecar()


async def test_restarted_server_is_served_again(visit: Visit) -> None:
    await visit.federate_by_sidecar()
    before = visit.sidecar.output.mark()
    await visit.host.stop()
    await visit.host.start()
    visit.host_mark = visit.host.output.mark()
    await visit.sidecar.wait_linked(SIDECAR, after=before, timeout_seconds=60)
    await visit.federate_by_sidecar()


async def test_stranger_on_the_component_port_of_a_stopped_server_gets_nothing(
    visit: Visit,
) -> None:
    before = visit.sidecar.output.mark()
    await visit.host.stop()
    async with FakeServer(*visit.host.component_place(SIDECAR)) as stranger:
        stream = await stranger.component()
        for job, inside in every_job().items():
            iq, id = request(job, inside, sender=CAPULET, secret="a guess")
            answer = await ask(stream, iq, id)
            assert (answer.get("type"), condition(answer)) == ("error", "forbidden")
    assert visit.decisions() == []
    before = visit.sidecar.output.mark()
    await visit.host.start()
    visit.host_mark = visit.host.output.mark()
    await visit.sidecar.wait_linked(SIDECAR, after=before, timeout_seconds=60)
    await visit.federate_by_sidecar()


async def test_module_reloaded_with_a_check_in_flight(visit: Visit) -> None:
    peer = await visit.peer()
    peer.on_verify = peer.ignore
    stream = await visit.stream(peer)
    await peer.request(stream, target=CAPULET)
    asking, element = await peer.next_request("verify")

    await visit.host.reload_module()
    answer = await stream.receive(RESULT, timeout_seconds=AT_ONCE_SECONDS)
    assert (answer.get("type"), condition(answer)) == ("error", "internal-server-error")
    await peer.verify_honestly(asking, element)  # too late: it authenticates nobody
    peer.on_verify = peer.verify_honestly
    assert (await peer.authenticate(stream, target=CAPULET)).get("type") == "valid"
    await visit.federate_by_sidecar()


async def test_module_reloaded_with_our_own_key_under_way(visit: Visit) -> None:
    """A stream whose key the peer still judges goes on, and its key is still ours."""
    peer = await visit.peer()
    juliet = await visit.log_in("juliet")
    peer.on_result = peer.ignore
    await juliet.send(message(to=f"romeo@{peer.domain}", text="patience"))
    outbound, element = await peer.next_request("result")

    await visit.host.reload_module()
    stream = await visit.stream(peer)
    await stream.db_verify(
        sender=CAPULET,
        target=peer.domain,
        stream=outbound.sent_headers[-1]["id"],
        key=element.text or "",
    )
    assert (await stream.receive(VERIFY)).get("type") == "valid"
    await peer.accept_result(outbound, element)
    await peer.next_stanza()
    await visit.federate_by_sidecar()


async def test_killed_key_service_comes_back_and_remembers_its_keys(visit: Visit) -> None:
    peer = await visit.peer()
    shown = await visit.key_shown_to(peer)
    stream = await visit.stream(peer)
    before = visit.sidecar.output.mark()
    child_running(visit.sidecar.pid, "sidecar.keyd").kill()
    await visit.sidecar.output.wait_for(KEYD_IS_BACK, after=before)
    await stream.db_verify(**shown)
    assert (await stream.receive(VERIFY)).get("type") == "valid"
    await visit.federate_by_sidecar()


async def test_key_service_killed_with_requests_in_flight(visit: Visit) -> None:
    unknown = await visit.peer("unknown")
    shown_peer = await visit.peer()
    shown = await visit.key_shown_to(shown_peer)
    stream = await visit.stream(shown_peer)
    juliet = await visit.log_in("juliet")

    before = visit.sidecar.output.mark()
    keyd = child_running(visit.sidecar.pid, "sidecar.keyd")
    keyd.suspend()
    await juliet.send(message(to=f"romeo@{unknown.domain}", text="in flight"))
    await stream.db_verify(**shown)
    await unknown.greeted()
    keyd.kill()
    verified = await stream.receive(VERIFY, timeout_seconds=AT_ONCE_SECONDS)
    assert verified.get("type") == "error"
    bounced = await juliet.receive(MESSAGE, timeout_seconds=AT_ONCE_SECONDS)
    assert bounced.get("type") == "error"

    await visit.sidecar.output.wait_for(KEYD_IS_BACK, after=before)
    await stream.db_verify(**shown)
    assert (await stream.receive(VERIFY)).get("type") == "valid"
    await juliet.send(message(to=f"romeo@{unknown.domain}", text="and now?"))
    await unknown.next_stanza()
    await visit.federate_by_sidecar()


async def test_suspended_key_service_gives_an_error_in_time(visit: Visit) -> None:
    """It does not answer at all, and nobody waits longer than a peer would."""
    peer = await visit.peer()
    shown = await visit.key_shown_to(peer)
    stream = await visit.stream(peer)
    keyd = child_running(visit.sidecar.pid, "sidecar.keyd")
    keyd.suspend()
    try:
        await stream.db_verify(**shown)
        verified = await stream.receive(VERIFY, timeout_seconds=AT_ONCE_SECONDS)
        assert verified.get("type") == "error"
    finally:
        keyd.resume()
    await stream.db_verify(**shown)
    assert (await stream.receive(VERIFY)).get("type") == "valid"
    await visit.federate_by_sidecar()
