"""Requests that cannot be answered with valid or invalid get a dialback error (XEP-0220 §2.5).

A dialback error leaves the stream open; `assert_open` uses it for an honest request afterwards.
"""

from __future__ import annotations

import asyncio
from xml.etree.ElementTree import Element

import pytest
from host_servers import CAPULET, VERONA
from raw_peer import RawPeer
from raw_stream import DIALBACK, STREAM, RawStream, condition
from world import Visit

RESULT, VERIFY = DIALBACK + "result", DIALBACK + "verify"


async def answer_to(stream: RawStream, sent: str, name: str) -> Element:
    await stream.send(sent)
    return await stream.receive(name)


async def assert_open(peer: RawPeer, stream: RawStream, target: str = CAPULET) -> None:
    answer = await peer.authenticate(stream, target=target)
    assert answer.get("type") == "valid"


@pytest.mark.parametrize("tls", [True, False], ids=["inside TLS", "in the clear"])
async def test_features_advertise_dialback_errors(visit: Visit, tls: bool) -> None:
    peer = await visit.peer()
    stream = await visit.stream(peer, tls=tls)
    features = [element for element in stream.everything if element.tag == STREAM + "features"]
    dialback = features[-1].find("{urn:xmpp:features:dialback}dialback")
    assert dialback is not None
    assert dialback.find("{urn:xmpp:features:dialback}errors") is not None


@pytest.mark.parametrize("target", ["nowhere.example", f"sub.{CAPULET}", "example"])
async def test_unknown_target_is_item_not_found_and_the_stream_stays(
    visit: Visit, target: str
) -> None:
    peer = await visit.peer()
    stream = await visit.stream(peer)
    answer = await peer.authenticate(stream, target=target)
    assert (answer.get("type"), condition(answer)) == ("error", "item-not-found")
    await assert_open(peer, stream)
    assert visit.stock_acts() == []


MALFORMED = {
    "no from": "<db:result to='{to}'>{key}</db:result>",
    "no to": "<db:result from='{from_}'>{key}</db:result>",
    "no key": "<db:result from='{from_}' to='{to}'/>",
    "a blank key": "<db:result from='{from_}' to='{to}'> \n </db:result>",
    "a key too long": "<db:result from='{from_}' to='{to}'>{long}</db:result>",
    "a key in two": "<db:result from='{from_}' to='{to}'>5e5e 5e5e</db:result>",
    "an element as key": "<db:result from='{from_}' to='{to}'><key/></db:result>",
    "a user as sender": "<db:result from='romeo@{from_}' to='{to}'>{key}</db:result>",
    "a path as sender": "<db:result from='{from_}/x' to='{to}'>{key}</db:result>",
    "an empty label": "<db:result from='a..{from_}' to='{to}'>{key}</db:result>",
    "a verify without id": "<db:verify from='{from_}' to='{to}'>{key}</db:verify>",
    "a verify with an empty id": "<db:verify from='{from_}' to='{to}' id=''>{key}</db:verify>",
    "a verify with spaces in id": "<db:verify from='{from_}' to='{to}' id='a b'>{key}</db:verify>",
    "a verify without key": "<db:verify from='{from_}' to='{to}' id='1'/>",
    "a verify without from": "<db:verify to='{to}' id='1'>{key}</db:verify>",
}


@pytest.mark.parametrize("element", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_request_is_bad_request_and_the_stream_stays(
    visit: Visit, element: str
) -> None:
    peer = await visit.peer()
    stream = await visit.stream(peer)
    sent = element.format(from_=peer.domain, to=CAPULET, key="5e" * 32, long="5e" * 129)
    answer = await answer_to(stream, sent, VERIFY if "verify" in sent else RESULT)
    assert (answer.get("type"), condition(answer)) == ("error", "bad-request")
    assert not (answer.text or "").strip()
    await assert_open(peer, stream)
    assert len(await visit.decided_in_all(1)) == 1


async def test_answer_echoes_the_addresses_as_received_and_never_the_key(visit: Visit) -> None:
    peer = await visit.peer()
    stream = await visit.stream(peer)
    key = "5e" * 32
    peer.issued[peer.domain, CAPULET, stream.header["id"]] = key
    shouted, target = peer.domain.upper(), "Capulet.EXAMPLE"
    await stream.db_result(sender=shouted, target=target, key=key)
    answer = await stream.receive(RESULT)
    assert answer.attrib == {"from": target, "to": shouted, "type": "valid"}
    assert not answer.text
    await visit.decided("check", sender=peer.domain, target=CAPULET, outcome="valid")


async def test_sender_domain_that_does_not_exist_is_an_error(visit: Visit) -> None:
    peer = await visit.peer()
    stream = await visit.stream(peer)
    answer = await peer.authenticate(stream, target=CAPULET, sender=f"no.{peer.domain}")
    assert (answer.get("type"), condition(answer)) == ("error", "remote-server-not-found")
    await assert_open(peer, stream)


async def test_authoritative_server_that_does_not_answer_the_phone_is_an_error(
    visit: Visit,
) -> None:
    peer, gone = await visit.peer(), await visit.peer("gone")
    gone.close_port()
    stream = await visit.stream(peer)
    answer = await peer.authenticate(stream, target=CAPULET, sender=gone.domain)
    assert (answer.get("type"), condition(answer)) == ("error", "remote-connection-failed")
    await assert_open(peer, stream)


async def test_authoritative_server_that_hangs_up_is_an_error_at_once(visit: Visit) -> None:
    peer = await visit.peer()

    async def hang_up(asking: RawStream, element: Element) -> None:
        asking.abort()

    peer.on_verify = hang_up
    stream = await visit.stream(peer)
    answer = await peer.authenticate(stream, target=CAPULET)
    assert answer.get("type") == "error"
    peer.on_verify = peer.verify_honestly
    await assert_open(peer, stream)


async def test_error_of_the_authoritative_server_is_an_error(visit: Visit) -> None:
    """Neither valid nor invalid: it could not say (XEP-0220 §2.5)."""
    peer = await visit.peer()
    peer.on_verify = peer.verify_with_error
    stream = await visit.stream(peer)
    assert (await peer.authenticate(stream, target=CAPULET)).get("type") == "error"
    peer.on_verify = peer.verify_honestly
    await assert_open(peer, stream)


async def test_invalid_key_closes_a_stream_with_nothing_else_on_it(visit: Visit) -> None:
    peer = await visit.peer()
    stream = await visit.stream(peer)
    await stream.db_result(sender=peer.domain, target=CAPULET, key="5e" * 32)
    assert (await stream.receive(RESULT)).get("type") == "invalid"
    await stream.wait_ended()


async def test_invalid_key_leaves_a_stream_open_that_carries_a_verified_pair(
    visit: Visit,
) -> None:
    peer = await visit.peer()
    stream = await visit.stream(peer)
    await assert_open(peer, stream)
    await stream.db_result(sender=peer.domain, target=VERONA, key="5e" * 32)
    answer = await stream.receive(RESULT)
    assert answer.get("from") == VERONA
    assert answer.get("type") in ("invalid", "error")
    await assert_open(peer, stream, target=VERONA)


async def test_several_pairs_share_one_stream(visit: Visit) -> None:
    peer = await visit.peer_for("one-a.example", "one-b.example")
    stream = await visit.stream(peer)
    for sender in peer.domains:
        for target in (CAPULET, VERONA, "rooms.capulet.example"):
            answer = await peer.authenticate(stream, target=target, sender=sender)
            assert answer.get("type") == "valid"
            await visit.decided("check", sender=sender, target=target, outcome="valid")
    assert visit.stock_acts() == []


async def test_pending_checks_of_one_stream_are_capped(visit: Visit) -> None:
    limit = visit.host.check_limit
    peer = await visit.peer_for(*(f"cap-{number}.example" for number in range(limit + 1)))
    peer.on_verify = peer.ignore
    stream = await visit.stream(peer)
    for sender in peer.domains:
        await peer.request(stream, target=CAPULET, sender=sender)
    refused = await stream.receive(RESULT)
    assert refused.get("to") == peer.domains[limit]
    assert (refused.get("type"), condition(refused)) == ("error", "resource-constraint")
    for _ in range(limit):
        asking, element = await peer.next_request("verify")
        await peer.verify_honestly(asking, element)
    answers = [await stream.receive(RESULT) for _ in range(limit)]
    assert {answer.get("type") for answer in answers} == {"valid"}
    peer.on_verify = peer.verify_honestly
    answer = await peer.authenticate(stream, target=CAPULET, sender=peer.domains[limit])
    assert answer.get("type") == "valid"


async def test_request_repeated_while_pending_is_checked_once(visit: Visit) -> None:
    peer = await visit.peer()
    peer.on_verify = peer.ignore
    stream = await visit.stream(peer)
    key = await peer.request(stream, target=CAPULET)
    asking, element = await peer.next_request("verify")
    for _ in range(5):
        await stream.db_result(sender=peer.domain, target=CAPULET, key=key)
    await answer_to(stream, f"<db:result to='{CAPULET}'>00</db:result>", RESULT)
    await peer.verify_honestly(asking, element)
    assert (await stream.receive(RESULT)).get("type") == "valid"
    assert len(visit.decisions("check")) == 1


async def test_peers_of_old_that_send_no_version_and_no_addresses_federate(visit: Visit) -> None:
    """A stream header without `version`, `from` and `to`, so no features either."""
    peer = await visit.peer()
    stream = await RawStream.connect(visit.host.address, visit.host.s2s_port)
    await stream.send_header()
    await stream.wait_header()
    await assert_open(peer, stream)
    await visit.decided("check", sender=peer.domain, target=CAPULET, outcome="valid")
    assert visit.stock_acts() == []
    stream.abort()


async def test_requests_of_many_streams_at_once_are_all_answered(visit: Visit) -> None:
    peer = await visit.peer()
    streams = await asyncio.gather(*(visit.stream(peer) for _ in range(8)))
    answers = await asyncio.gather(*(peer.authenticate(s, target=CAPULET) for s in streams))
    assert [answer.get("type") for answer in answers] == ["valid"] * 8
