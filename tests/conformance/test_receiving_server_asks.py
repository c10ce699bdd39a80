"""XEP-0220 §2.1.2: the Receiving Server asks the Authoritative Server about a key."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest
from findings import answer_or_end, how_it_ended, kind, yes_if
from guests import Guests
from host_servers import CAPULET, VERONA
from raw_peer import RawPeer
from raw_stream import DIALBACK, RawStream
from subjects import on_all

pytestmark = on_all

RESULT, VERIFY = DIALBACK + "result", DIALBACK + "verify"


async def asked(
    guests: Guests, peer: RawPeer, *, target: str = CAPULET
) -> tuple[RawStream, RawStream, Element]:
    """Have the server ask `peer` about a key and get no answer yet.

    The stream that was claimed on, the one that was asked on, and the request.
    """
    peer.on_verify = peer.ignore
    stream = await guests.stream(peer, target=target)
    await peer.request(stream, target=target)
    asking, request = await peer.next_request("verify")
    return stream, asking, request


async def test_verify_request_names_the_target_domain_in_from(guests: Guests, find) -> None:
    _, _, request = await asked(guests, await guests.peer())
    find(yes_if(request.get("from") == CAPULET, str(request.get("from"))))


async def test_verify_request_names_the_sender_domain_in_to(guests: Guests, find) -> None:
    peer = await guests.peer()
    _, _, request = await asked(guests, peer)
    find(yes_if(request.get("to") == peer.domain, str(request.get("to"))))


async def test_verify_request_has_the_id_of_the_response_stream_header(
    guests: Guests, find
) -> None:
    stream, _, request = await asked(guests, await guests.peer())
    find(yes_if(request.get("id") == stream.header["id"], "another"))


async def test_stream_opened_to_ask_is_closed_after_the_answer(guests: Guests, find) -> None:
    """A second question shows whether the stream of the first was kept for it."""
    peer = await guests.peer()
    stream, asking, request = await asked(guests, peer)
    await peer.verify_honestly(asking, request)
    await stream.receive(RESULT)
    again, asking_again, _ = await asked(guests, peer)
    assert again is not stream
    find(yes_if(asking_again is not asking, "kept for the next question"))


async def test_lost_connection_is_an_error_for_what_was_pending(guests: Guests, find) -> None:
    stream, asking, _ = await asked(guests, await guests.peer())
    asking.abort()
    answer = await answer_or_end(stream, RESULT, timeout_seconds=5)
    find(yes_if(answer.startswith("error "), answer))


async def believed_nothing(stream: RawStream, asking: RawStream, request: Element) -> str:
    """Whether only the exact answer settles a request; it is given last, and says invalid."""
    await asking.answer_verify(
        sender=request.get("to", ""),
        target=request.get("from", ""),
        stream=request.get("id", ""),
        type="invalid",
    )
    answer = await answer_or_end(stream, RESULT)
    if answer == "invalid":
        return "yes"
    if answer == "valid":
        return "no, believed"
    return f"yes, and {how_it_ended(asking)}" if asking.ended else f"no, {answer}"


WRONG = {"sender": {"sender": VERONA}, "target": {"target": VERONA}, "id": {"stream": "other"}}


@pytest.mark.parametrize("wrong", WRONG)
async def test_answer_that_does_not_fit_the_request_settles_nothing(
    guests: Guests, find, wrong: str
) -> None:
    stream, asking, request = await asked(guests, await guests.peer())
    exact = {
        "sender": request.get("to", ""),
        "target": request.get("from", ""),
        "stream": request.get("id", ""),
    }
    await asking.answer_verify(**{**exact, **WRONG[wrong]}, type="valid")
    find(await believed_nothing(stream, asking, request))


async def test_answer_about_the_pair_of_another_stream_settles_nothing(
    guests: Guests, find
) -> None:
    """Mallory's server is asked about mallory, and says yes to the claim on the victim."""
    mallory, victim = await guests.peer("mallory"), await guests.peer("victim")
    claimed, asking_victim, about_victim = await asked(guests, victim)
    _, asking_mallory, _ = await asked(guests, mallory)
    await asking_mallory.answer_verify(
        sender=victim.domain, target=CAPULET, stream=claimed.header["id"], type="valid"
    )
    other = await guests.stream(mallory)
    await other.answer_verify(
        sender=victim.domain, target=CAPULET, stream=claimed.header["id"], type="valid"
    )
    find(await believed_nothing(claimed, asking_victim, about_victim))


async def test_answer_for_a_stream_that_is_gone_is_dropped(guests: Guests, find) -> None:
    """Silently: nothing is said on the stream on which it came, and the next claim goes well."""
    peer = await guests.peer()
    stream, asking, request = await asked(guests, peer)
    await stream.close()
    await peer.verify_honestly(asking, request)
    peer.behave()
    answer = await peer.authenticate(await guests.stream(peer), target=CAPULET)
    said = [e for e in asking.everything if e.get("type") is not None]
    ended = f"; {how_it_ended(asking)}" if asking.stream_error else ""
    find(yes_if(answer.get("type") == "valid" and not said and not ended, f"{kind(answer)}{ended}"))
