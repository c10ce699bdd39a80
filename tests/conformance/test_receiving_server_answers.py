"""XEP-0220 §2.2.1: the Receiving Server decides who may send stanzas, and says so."""

from __future__ import annotations

import pytest
from findings import answer_or_end, kind, yes_if
from guests import Guests
from host_servers import CAPULET, VERONA
from raw_peer import RawPeer
from raw_stream import DIALBACK, RawStream
from subjects import on_all

pytestmark = on_all

RESULT, VERIFY = DIALBACK + "result", DIALBACK + "verify"
FORGED = "5e" * 32


async def test_dialback_requests_are_answered_while_another_waits(guests: Guests, find) -> None:
    peer = await guests.peer()
    stream = await guests.stream(peer)
    peer.on_verify = peer.ignore
    await peer.request(stream, target=VERONA)
    await peer.next_request("verify")
    peer.on_verify = peer.verify_honestly
    await peer.request(stream, target=CAPULET)
    answer = await answer_or_end(stream, RESULT)
    find(yes_if(answer == "valid", answer))


async def test_verify_requests_are_answered_while_another_waits(guests: Guests, find) -> None:
    peer = await guests.peer()
    stream = await guests.stream(peer)
    peer.on_verify = peer.ignore
    await peer.request(stream, target=CAPULET)
    await peer.next_request("verify")
    await stream.db_verify(sender=CAPULET, target=peer.domain, stream="1", key=FORGED)
    answer = await answer_or_end(stream, VERIFY)
    find(yes_if(answer == "invalid", answer))


async def test_unknown_target_leaves_the_stream_open(guests: Guests, find) -> None:
    peer = await guests.peer()
    stream = await guests.stream(peer)
    await peer.request(stream, target="nowhere.example")
    answer = await answer_or_end(stream, RESULT)
    if stream.ended:
        find(f"no, {answer}")
        return
    await peer.request(stream, target=CAPULET)
    after = await answer_or_end(stream, RESULT)
    find(yes_if(after == "valid", f"{answer}, then {after}"))


async def test_unknown_target_is_item_not_found(guests: Guests, find) -> None:
    peer = await guests.peer()
    stream = await guests.stream(peer)
    await peer.request(stream, target="nowhere.example")
    answer = await answer_or_end(stream, RESULT)
    find(yes_if(answer == "error item-not-found", answer))


async def test_initiating_server_is_told_the_result(guests: Guests, find) -> None:
    peer = await guests.peer()
    stream = await guests.stream(peer)
    await peer.request(stream, target=CAPULET)
    answer = await answer_or_end(stream, RESULT)
    find(yes_if(answer == "valid", answer))


async def test_result_names_the_target_domain_in_from(guests: Guests, find) -> None:
    peer = await guests.peer()
    stream = await guests.stream(peer)
    await peer.request(stream, target=CAPULET)
    answer = await stream.receive(RESULT)
    find(yes_if(answer.get("from") == CAPULET, str(answer.get("from"))))


async def test_result_names_the_sender_domain_in_to(guests: Guests, find) -> None:
    peer = await guests.peer()
    stream = await guests.stream(peer)
    await peer.request(stream, target=CAPULET)
    answer = await stream.receive(RESULT)
    find(yes_if(answer.get("to") == peer.domain, str(answer.get("to"))))


@pytest.mark.parametrize("honest", [True, False])
async def test_result_has_a_type(guests: Guests, find, honest: bool) -> None:
    peer = await guests.peer()
    stream = await guests.stream(peer)
    if honest:
        await peer.request(stream, target=CAPULET)
    else:
        await stream.db_result(sender=peer.domain, target=CAPULET, key=FORGED)
    answer = await stream.receive(RESULT)
    find(yes_if(answer.get("type") == ("valid" if honest else "invalid"), kind(answer)))


async def refused(guests: Guests) -> tuple[RawPeer, RawStream, str]:
    """A stream whose only key was called invalid."""
    peer = await guests.peer()
    stream = await guests.stream(peer)
    await stream.db_result(sender=peer.domain, target=CAPULET, key=FORGED)
    return peer, stream, await answer_or_end(stream, RESULT)


async def test_invalid_key_of_the_only_pair_is_told_as_invalid(guests: Guests, find) -> None:
    _, _, answer = await refused(guests)
    find(yes_if(answer == "invalid", answer))


async def test_invalid_key_of_the_only_pair_closes_the_stream(guests: Guests, find) -> None:
    """A request that comes after it would be answered on an open stream."""
    peer, stream, _ = await refused(guests)
    await peer.request(stream, target=CAPULET)
    answer = await answer_or_end(stream, RESULT)
    find(yes_if(stream.ended, f"the next request is answered {answer}"))
