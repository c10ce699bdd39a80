"""What a fault inside the ejabberd module does: an error for who waits, and no open door."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from conftest import open_world
from ejabberd_host import EjabberdHost
from host_servers import CAPULET, PASSWORD, HostSettings
from raw_stream import DIALBACK, condition
from world import MESSAGE, Visit, World, message

RESULT, VERIFY = DIALBACK + "result", DIALBACK + "verify"
_LINK = f'gen_mod:get_module_proc(<<"{CAPULET}">>, mod_dialback_sidecar_link)'


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world() -> AsyncIterator[World]:
    settings = HostSettings(
        hosts=(CAPULET,),
        rooms=(),
        accounts={f"juliet@{CAPULET}": PASSWORD, f"nurse@{CAPULET}": PASSWORD},
    )
    async with open_world(EjabberdHost(settings)) as opened:
        yield opened


def server(visit: Visit) -> EjabberdHost:
    assert isinstance(visit.host, EjabberdHost)
    return visit.host


async def test_stream_that_waits_when_the_link_process_ends_gets_an_error(visit: Visit) -> None:
    peer = await visit.peer(tls=False)
    peer.on_verify = peer.ignore
    stream = await visit.stream(peer)
    await peer.request(stream, target=CAPULET)
    await peer.next_request("verify")
    # Its last words reach the stream before its supervisor has started another.
    await server(visit).server.evaluate(
        f"Old = whereis({_LINK}), sys:terminate(Old, fault), Wait = fun Wait() ->"
        f" case whereis({_LINK}) of New when is_pid(New), New /= Old -> ok;"
        " _ -> timer:sleep(10), Wait() end end, Wait()"
    )
    answer = await stream.receive(RESULT)
    assert (answer.get("type"), condition(answer)) == ("error", "internal-server-error")
    peer.on_verify = peer.verify_honestly
    assert (await peer.authenticate(stream, target=CAPULET)).get("type") == "valid"


async def test_without_a_link_process_everything_is_an_error(visit: Visit) -> None:
    peer = await visit.peer(tls=False)
    juliet = await visit.log_in("juliet")
    host = server(visit)
    await host.server.evaluate(f"supervisor:terminate_child(ejabberd_gen_mod_sup, {_LINK})")
    try:
        stream = await visit.stream(peer)
        await peer.request(stream, target=CAPULET)
        answer = await stream.receive(RESULT)
        assert (answer.get("type"), condition(answer)) == ("error", "internal-server-error")
        await stream.db_verify(sender=CAPULET, target=peer.domain, stream="1", key="5e" * 32)
        assert (await stream.receive(VERIFY)).get("type") == "error"
        await juliet.send(message(to=f"romeo@{peer.domain}", text="in vain"))
        assert (await juliet.receive(MESSAGE)).get("type") == "error"
        assert visit.stock_acts() == []
    finally:
        await host.server.evaluate(f"supervisor:restart_child(ejabberd_gen_mod_sup, {_LINK})")


async def test_fault_in_a_hook_opens_no_door(visit: Visit) -> None:
    """With a part of the module empty, the native module behind it is still not asked."""
    peer = await visit.peer(tls=False)
    juliet = await visit.log_in("juliet")
    host = server(visit)
    await host.server.evaluate(
        "M = mod_dialback_sidecar_peer, {M, Code, File} = code:get_object_code(M),"
        " persistent_term:put(lab, {M, File, Code}),"
        " {ok, M, Empty} = compile:forms([{attribute, 1, module, M}]),"
        " code:purge(M), code:load_binary(M, File, Empty)"
    )
    try:
        stream = await visit.stream(peer)
        await peer.request(stream, target=CAPULET)
        answer = await stream.receive(RESULT)
        assert (answer.get("type"), condition(answer)) == ("error", "internal-server-error")
        await juliet.send(message(to=f"romeo@{peer.domain}", text="in vain"))
        assert (await juliet.receive(MESSAGE)).get("type") == "error"
        assert visit.stock_acts() == []
    finally:
        await host.server.evaluate(
            "{M, File, Code} = persistent_term:get(lab), code:purge(M),"
            " code:load_binary(M, File, Code)"
        )
    assert (await peer.authenticate(stream, target=CAPULET)).get("type") == "valid"
