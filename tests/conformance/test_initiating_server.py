"""XEP-0220 §2.1.1 and §2.6.2: a server asks to be allowed to send stanzas."""

from __future__ import annotations

import asyncio
from xml.etree.ElementTree import Element

import pytest
from findings import how_it_ended, kind, yes_if
from guests import MESSAGE, Guests, body, message
from host_servers import CAPULET, VERONA
from raw_peer import RawPeer
from raw_stream import DIALBACK, RawStream, StreamEnded
from subjects import on_servers

pytestmark = on_servers

SERVER_MESSAGE = "{jabber:server}message"


async def held(
    guests: Guests, peer: RawPeer, text: str = "held", user: str = "juliet"
) -> RawStream:
    """Have a local user write to `peer`, and return the stream on which it holds the result."""
    peer.on_result = peer.ignore
    client = await guests.log_in(user)
    await client.send(message(to=f"romeo@{peer.domain}", text=text))
    stream, _ = await peer.next_request("result")
    return stream


async def caught_up(guests: Guests, peer: RawPeer) -> None:
    """Return once the server has worked through what it had to do for the peer until now."""
    juliet = await guests.log_in("juliet")
    await guests.delivered_to(juliet)
    other = await guests.stream(peer)
    await other.db_verify(sender=CAPULET, target=peer.domain, stream="fence", key="00")
    await other.receive(DIALBACK + "verify")


async def bounce(guests: Guests, peer: RawPeer, answer: str) -> str:
    """Answer juliet's request with `answer`; what she gets back."""
    peer.on_result = peer.ignore
    juliet = await guests.log_in("juliet")
    await juliet.send(message(to=f"romeo@{peer.domain}", text="returned"))
    stream, _ = await peer.next_request("result")
    await stream.send(answer.format(peer=peer.domain))
    return kind(await juliet.receive(MESSAGE)).removeprefix("error ")


INVALID = f"<db:result from='{{peer}}' to='{CAPULET}' type='invalid'/>"
ERROR = (
    f"<db:result from='{{peer}}' to='{CAPULET}' type='error'><error type='cancel'>"
    "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>"
)


async def test_request_names_the_sender_domain_in_from(guests: Guests, find) -> None:
    peer = await guests.peer()
    stream = await held(guests, peer)
    (request,) = (e for e in stream.everything if e.tag == DIALBACK + "result")
    find(yes_if(request.get("from") == CAPULET, str(request.get("from"))))


async def test_request_names_the_target_domain_in_to(guests: Guests, find) -> None:
    peer = await guests.peer()
    stream = await held(guests, peer)
    (request,) = (e for e in stream.everything if e.tag == DIALBACK + "result")
    find(yes_if(request.get("to") == peer.domain, str(request.get("to"))))


async def test_receiving_server_need_not_ask_about_the_key(guests: Guests, find) -> None:
    peer = await guests.peer()
    juliet = await guests.log_in("juliet")
    await juliet.send(message(to=f"romeo@{peer.domain}", text="believed"))
    stanza = await peer.next_stanza()
    find(yes_if(body(stanza) == "believed", kind(stanza)))


async def test_stanzas_are_queued_until_the_result(guests: Guests, find) -> None:
    peer = await guests.peer()
    peer.on_result = peer.ignore
    juliet = await guests.log_in("juliet")
    for text in ("one", "two", "three"):
        await juliet.send(message(to=f"romeo@{peer.domain}", text=text))
    stream, element = await peer.next_request("result")
    await peer.accept_result(stream, element)
    arrived = [body(await peer.next_stanza()) for _ in range(3)]
    find(yes_if(arrived == ["one", "two", "three"], f"{arrived}"))


async def test_no_stanza_is_sent_before_the_result(guests: Guests, find) -> None:
    peer = await guests.peer()
    stream = await held(guests, peer)
    await caught_up(guests, peer)
    find(yes_if(SERVER_MESSAGE not in [e.tag for e in stream.everything], "sent"))


async def test_verified_pair_goes_on_while_another_waits(guests: Guests, find) -> None:
    peer = await guests.peer()
    juliet = await guests.log_in("juliet")
    await juliet.send(message(to=f"romeo@{peer.domain}", text="first"))
    await peer.next_stanza()
    peer.behave()
    await held(guests, peer, user="escalus")
    await juliet.send(message(to=f"romeo@{peer.domain}", text="meanwhile"))
    stanza = await peer.next_stanza()
    find(yes_if(body(stanza) == "meanwhile", kind(stanza)))


async def test_stream_closed_while_waiting_is_an_error(guests: Guests, find) -> None:
    peer = await guests.peer()
    bounced = await bounce(guests, peer, "</stream:stream>")
    find(yes_if(bounced == "remote-server-timeout", bounced))


async def authorised(guests: Guests, peer: RawPeer, stream: RawStream) -> str:
    """Whether a result that was just sent had juliet's stanza go out on `stream`."""
    await caught_up(guests, peer)
    if any(e.tag == SERVER_MESSAGE for e in stream.everything):
        return "no, taken as an authorisation"
    await stream.answer_result(sender=CAPULET, target=peer.domain, type="valid")
    try:
        await stream.wait_seen(SERVER_MESSAGE)
    except StreamEnded:
        return f"yes, and {how_it_ended(stream)}"
    return "yes"


@pytest.mark.parametrize("swapped", ["target", "sender"])
async def test_result_about_another_pair_authorises_nothing(
    guests: Guests, find, swapped: str
) -> None:
    peer = await guests.peer()
    stream = await held(guests, peer)
    pair = {"sender": CAPULET, "target": peer.domain}
    pair[swapped] = {"target": "other.example", "sender": VERONA}[swapped]
    await stream.answer_result(**pair, type="valid")
    find(await authorised(guests, peer, stream))


async def test_result_on_another_stream_authorises_nothing(guests: Guests, find) -> None:
    peer = await guests.peer()
    stream = await held(guests, peer)
    other = await guests.stream(peer)
    await other.answer_result(sender=CAPULET, target=peer.domain, type="valid")
    find(await authorised(guests, peer, stream))


async def test_result_before_the_request_authorises_nothing(guests: Guests, find) -> None:
    """It comes before the features that the server waits for; its key is then called invalid."""
    peer = await guests.peer()
    peer.before_features = f"<db:result from='{peer.domain}' to='{CAPULET}' type='valid'/>"

    async def refuse(stream: RawStream, element: Element) -> None:
        await stream.answer_result(sender=CAPULET, target=peer.domain, type="invalid")

    peer.on_result = refuse
    juliet = await guests.log_in("juliet")
    await juliet.send(message(to=f"romeo@{peer.domain}", text="unasked"))
    arrived = asyncio.create_task(peer.next_stanza())
    returned = asyncio.create_task(juliet.receive(MESSAGE, timeout_seconds=30))
    await asyncio.wait([arrived, returned], return_when=asyncio.FIRST_COMPLETED)
    authorised = arrived.done()
    for task in (arrived, returned):
        task.cancel()
    await asyncio.gather(arrived, returned, return_exceptions=True)
    find(yes_if(not authorised, "taken as an authorisation"))


async def test_invalid_returns_the_queue_with_internal_server_error(guests: Guests, find) -> None:
    bounced = await bounce(guests, await guests.peer(), INVALID)
    find(yes_if(bounced == "internal-server-error", bounced))


async def test_invalid_sends_nothing_of_the_queue(guests: Guests, find) -> None:
    peer = await guests.peer()
    await bounce(guests, peer, INVALID)
    find(yes_if(peer.stanzas.empty(), "sent"))


async def test_stream_carries_nothing_more_after_invalid(guests: Guests, find) -> None:
    """For pairs that were authorised on it, that is: another pair gets a result first."""
    peer = await guests.peer()
    juliet = await guests.log_in("juliet")
    await juliet.send(message(to=f"romeo@{peer.domain}", text="authorised"))
    await peer.next_stanza()
    peer.behave()
    refused = await held(guests, peer, user="escalus")
    await refused.answer_result(sender=VERONA, target=peer.domain, type="invalid")
    await juliet.send(message(to=f"romeo@{peer.domain}", text="further"))
    await peer.next_stanza()
    find(yes_if(SERVER_MESSAGE not in [e.tag for e in refused.everything], "sent"))


async def test_error_returns_the_queue_with_remote_server_timeout(guests: Guests, find) -> None:
    bounced = await bounce(guests, await guests.peer(), ERROR)
    find(yes_if(bounced == "remote-server-timeout", bounced))


async def test_targets_share_no_stream_of_a_server_without_dialback_errors(
    guests: Guests, find
) -> None:
    first = await guests.peer()
    peer = await guests.peer_for(f"a.{first.domain}", f"b.{first.domain}")
    peer.dialback_feature = "<dialback xmlns='urn:xmpp:features:dialback'/>"
    juliet = await guests.log_in("juliet")
    streams = []
    for domain in peer.domains:
        await juliet.send(message(to=f"romeo@{domain}", text="hi"))
        await peer.next_stanza()
        streams.append((await peer.next_request("result"))[0])
    find(yes_if(streams[0] is not streams[1], "shared"))
