"""Nobody but the server's module talks to the sidecar through the server.

Whatever others send is refused by the server: the sidecar does not even see it. That it would
refuse it as well is shown in `test_stranger_as_server`.
"""

from __future__ import annotations

import pytest
from host_servers import CAPULET, GOSSIP, SIDECAR, VERONA
from link_requests import NAMESPACE, every_job, request
from raw_component import connect_component
from raw_stream import DIALBACK, RawStream, condition
from world import Visit, message

WRONG_MAC = f"xmlns='{NAMESPACE}' mac='{'5e' * 32}'"
NOT_FOR_STRANGERS = (f"{{{NAMESPACE}}}key", f"{{{NAMESPACE}}}verdict")


async def assert_never_seen(visit: Visit, *attackers: RawStream) -> None:
    """Let a handshake of the server's own go through, and find that it was the only request."""
    peer = await visit.peer("fence")
    nurse = await visit.log_in("nurse")
    await nurse.send(message(to=f"romeo@{peer.domain}", text="after all that"))
    await peer.next_stanza()
    decisions = await visit.decided_in_all(1)
    assert len(decisions) == 1, decisions
    assert peer.domain in decisions[0]
    assert visit.sidecar.output.find("refused a stanza", visit.sidecar_mark) == []
    for attacker in attackers:
        for element in attacker.everything:
            assert not [e for e in element.iter() if e.tag in NOT_FOR_STRANGERS]


@pytest.mark.parametrize("mac", ["without a MAC", "with a wrong MAC"])
async def test_local_user_cannot_ask(visit: Visit, mac: str) -> None:
    juliet = await visit.log_in("juliet")
    for job, inside in every_job().items():
        if mac == "with a wrong MAC":
            inside = inside.replace(f"xmlns='{NAMESPACE}'", WRONG_MAC)
        iq, id = request(job, inside, sender=None)
        await juliet.send(iq)
        answer = await juliet.receive(
            "{jabber:client}iq", where=lambda element, id=id: element.get("id") == id
        )
        assert answer.get("type") == "error"
    await assert_never_seen(visit, juliet)


async def test_local_user_cannot_send_messages_or_presence(visit: Visit) -> None:
    juliet = await visit.log_in("juliet")
    for to in (SIDECAR, f"admin@{SIDECAR}", f"admin@{SIDECAR}/home"):
        await juliet.send(message(to=to, text="let me in"))
        bounced = await juliet.receive("{jabber:client}message")
        assert bounced.get("type") == "error"
        await juliet.send(f"<presence to='{to}' type='subscribe'/>")
    await assert_never_seen(visit, juliet)


async def test_local_user_cannot_answer_for_the_sidecar(visit: Visit) -> None:
    """A pending check is not settled by a verdict that a user sends to the domain."""
    peer = await visit.peer()
    peer.on_verify = peer.ignore
    stream = await visit.stream(peer)
    await peer.request(stream, target=CAPULET)
    asking, element = await peer.next_request("verify")
    juliet = await visit.log_in("juliet")
    for id in ("1", "iq-1"):
        await juliet.send(
            f"<iq type='result' id='{id}' to='{CAPULET}'>"
            f"<verdict xmlns='{NAMESPACE}' type='valid'/></iq>"
        )
    assert await visit.delivered_to(juliet) == []
    await asking.answer_verify(
        sender=peer.domain, target=CAPULET, stream=element.get("id", ""), type="invalid"
    )
    assert (await stream.receive(DIALBACK + "result")).get("type") == "invalid"


@pytest.mark.parametrize(
    "claimed", [GOSSIP, CAPULET, VERONA, SIDECAR, f"juliet@{CAPULET}", "montague.example"]
)
async def test_component_that_may_claim_any_address_cannot_ask(visit: Visit, claimed: str) -> None:
    gossip = await connect_component(GOSSIP, "gossip", *visit.host.component_place(GOSSIP))
    try:
        for job, inside in every_job().items():
            await gossip.send(request(job, inside, sender=claimed)[0])
            wrong = inside.replace(f"xmlns='{NAMESPACE}'", WRONG_MAC)
            await gossip.send(request(job, wrong, sender=claimed)[0])
        # The server has read all of it when it answers the last one.
        await gossip.send(
            f"<iq type='get' id='end' from='{GOSSIP}' to='{CAPULET}'>"
            "<ping xmlns='urn:xmpp:ping'/></iq>"
        )
        await gossip.receive(where=lambda element: element.get("id") == "end")
        await assert_never_seen(visit, gossip)
    finally:
        await gossip.close()


@pytest.mark.parametrize("local", [False, True], ids=["as itself", "as our own domain"])
async def test_remote_server_cannot_ask(visit: Visit, local: bool) -> None:
    peer = await visit.peer()
    juliet = await visit.log_in("juliet")
    stream = await visit.stream(peer)
    await peer.authenticate(stream, target=CAPULET)
    visit.sidecar_mark = visit.sidecar.output.mark()
    for job, inside in every_job().items():
        await stream.send(request(job, inside, sender=CAPULET if local else peer.domain)[0])
        await stream.send(request(job, inside, sender=f"romeo@{peer.domain}")[0])
    await stream.send(message(sender=f"r@{peer.domain}", to=f"juliet@{CAPULET}", text="end"))
    if local:  # a domain that this stream does not speak for: the server closes it
        await stream.wait_ended()
    else:
        await juliet.receive("{jabber:client}message")
    await assert_never_seen(visit, stream, *peer.streams)


async def test_sidecars_own_domain_is_no_target_for_a_remote_server(visit: Visit) -> None:
    peer = await visit.peer()
    stream = await visit.stream(peer)
    answer = await peer.authenticate(stream, target=SIDECAR)
    assert (answer.get("type"), condition(answer)) == ("error", "item-not-found")
    assert not stream.ended
    await assert_never_seen(visit, stream)
