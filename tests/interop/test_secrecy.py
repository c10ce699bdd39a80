"""No dialback key and no secret in any output of ours, with every logger at DEBUG.

All worlds of these tests run like that, and each is searched at its end for every key that was
on the wire (`conftest.assert_silent`). Here the search is made where keys are most likely to slip
out: in errors, refusals and outages.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest_asyncio
from conftest import assert_silent, open_world
from host_servers import CAPULET, SIDECAR, HostServer, HostSettings
from processes import child_running
from raw_stream import DIALBACK, RawStream, keys_on_the_wire
from world import MESSAGE, Visit, World, message

RESULT, VERIFY = DIALBACK + "result", DIALBACK + "verify"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(host_kind: Callable[[HostSettings], HostServer]) -> AsyncIterator[World]:
    async with open_world(host_kind(HostSettings())) as opened:
        yield opened


async def test_no_key_is_printed_whatever_becomes_of_it(visit: Visit) -> None:
    keys_before = set(keys_on_the_wire)
    peer = await visit.peer()
    juliet = await visit.log_in("juliet")
    inbound = await visit.stream(peer)

    # Valid in every role; then invalid, malformed, unknown, unsolicited.
    await juliet.send(message(to=f"romeo@{peer.domain}", text="hello"))
    outbound, issued = await peer.next_request("result")
    key, stream_id = issued.text or "", outbound.sent_headers[-1]["id"]
    await peer.next_stanza()
    for shown in (key, key[::-1]):
        await inbound.db_verify(sender=CAPULET, target=peer.domain, stream=stream_id, key=shown)
        await inbound.receive(VERIFY)
    await peer.authenticate(inbound, target=CAPULET)
    for text in (
        f"<db:result from='{peer.domain}' to='nowhere.example'>{key}</db:result>",
        f"<db:result from='a b' to='{CAPULET}'>{key}</db:result>",
        f"<db:result from='{CAPULET}' to='{CAPULET}'>{key}</db:result>",
        f"<db:result from='no.{peer.domain}' to='{CAPULET}'>{key}</db:result>",
        f"<db:result from='x.{peer.domain}' to='{CAPULET}'>{key}{key} {key}</db:result>",
    ):
        await inbound.send(text)
        assert (await inbound.receive(RESULT)).get("type") == "error"
    for stream in (inbound, outbound):
        for name in ("result", "verify"):
            pair = f"from='{peer.domain}' to='{CAPULET}' id='1'"
            await stream.send(f"<db:{name} {pair} type='valid'>{key}</db:{name}>")
    claimed = await visit.stream(peer)
    await claimed.db_result(sender=peer.domain, target=CAPULET, key=secrets.token_hex(32))
    assert (await claimed.receive(RESULT)).get("type") == "invalid"

    # The peer's own answers hold the key, as Prosody's do, and text that is none of ours.
    async def chatty(asking: RawStream, asked: Element) -> None:
        pair = f"from='{peer.domain}' to='{CAPULET}'"
        await asking.send(
            f"<db:verify {pair} id='{asked.get('id')}' type='nonsense'>{asked.text}</db:verify>"
            f"<message><body>{asked.text}</body></message>"
            f"<db:verify from='{asked.text}' to='{asked.text}' id='{asked.text}' type='error'/>"
            f"<{asked.text}"
        )

    peer.on_verify = chatty
    confused = await visit.stream(peer)
    assert (await peer.authenticate(confused, target=CAPULET)).get("type") == "error"

    # Outages, with requests of each kind in flight.
    keyd = child_running(visit.sidecar.pid, "sidecar.keyd")
    keyd.suspend()
    unknown = await visit.peer("unknown")
    await juliet.send(message(to=f"romeo@{unknown.domain}", text="hello"))
    await inbound.db_verify(sender=CAPULET, target=peer.domain, stream=stream_id, key=key)
    keyd.kill()
    assert (await inbound.receive(VERIFY)).get("type") == "error"
    assert (await juliet.receive(MESSAGE)).get("type") == "error"
    peer.on_verify = peer.ignore
    late = await visit.stream(peer)
    await peer.request(late, target=CAPULET)
    await peer.next_request("verify")
    await visit.sidecar.kill()
    assert (await late.receive(RESULT)).get("type") == "error"
    await visit.sidecar.start()

    assert len(keys_on_the_wire - keys_before) >= 6
    assert key in keys_on_the_wire
    assert_silent(visit.world)


async def test_secrets_are_in_no_output_argument_or_environment(visit: Visit) -> None:
    keyd = child_running(visit.sidecar.pid, "sidecar.keyd")
    shown = [*visit.world.our_outputs, *visit.host.our_lines(0)]
    for pid in (visit.sidecar.pid, keyd.pid):
        for name in ("cmdline", "environ"):
            shown.append(Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace"))
    text = "\n".join(shown)
    (kek,) = visit.sidecar.state_directory.glob("**/kek")
    raw = kek.read_bytes()
    for secret in (
        visit.host.link(SIDECAR).secret,
        raw.hex(),
        base64.b64encode(raw).decode(),
        raw.strip().decode(errors="replace"),
    ):
        assert len(secret) > 8
        assert secret not in text
