"""XEP-0220 §2.2.2: the Authoritative Server says whether a key is valid."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from findings import answer_or_end, kind, yes_if
from guests import Guests
from host_servers import CAPULET
from raw_peer import RawPeer
from raw_stream import DIALBACK, RawStream
from subjects import Subject, on_all

pytestmark = on_all

VERIFY = DIALBACK + "verify"
FORGED = "5e" * 32


async def verified(
    subject: Subject, guests: Guests, peer: RawPeer, *, key: str | None = None
) -> tuple[Element, str]:
    """The answer about a key that was made for `peer`, or about `key` instead; the stream ID."""
    stream_id, issued = await subject.issue(guests, peer)
    asking = await guests.stream(peer)
    await asking.db_verify(sender=CAPULET, target=peer.domain, stream=stream_id, key=key or issued)
    return await asking.receive(VERIFY), stream_id


async def unknown(guests: Guests) -> tuple[RawPeer, RawStream, str]:
    """The answer to a question about a domain that is not the server's."""
    peer = await guests.peer()
    stream = await guests.stream(peer)
    await stream.db_verify(sender="nowhere.example", target=peer.domain, stream="1", key=FORGED)
    return peer, stream, await answer_or_end(stream, VERIFY)


async def test_domain_that_is_not_local_is_item_not_found(guests: Guests, find) -> None:
    _, _, answer = await unknown(guests)
    find(yes_if(answer == "error item-not-found", answer))


async def test_domain_that_is_not_local_leaves_the_stream_open(guests: Guests, find) -> None:
    peer, stream, _ = await unknown(guests)
    await stream.db_verify(sender=CAPULET, target=peer.domain, stream="1", key=FORGED)
    answer = await answer_or_end(stream, VERIFY)
    find(yes_if(answer == "invalid", answer))


async def test_answer_swaps_from_and_to(subject: Subject, guests: Guests, find) -> None:
    peer = await guests.peer()
    answer, _ = await verified(subject, guests, peer)
    named = (answer.get("from"), answer.get("to"))
    find(yes_if(named == (CAPULET, peer.domain), f"{named}"))


async def test_answer_has_the_id_of_the_request(subject: Subject, guests: Guests, find) -> None:
    answer, stream_id = await verified(subject, guests, await guests.peer())
    find(yes_if(answer.get("id") == stream_id, str(answer.get("id"))))


async def test_key_that_was_issued_is_valid(subject: Subject, guests: Guests, find) -> None:
    answer, _ = await verified(subject, guests, await guests.peer())
    find(yes_if(answer.get("type") == "valid", kind(answer)))


async def test_any_other_key_is_invalid(subject: Subject, guests: Guests, find) -> None:
    answer, _ = await verified(subject, guests, await guests.peer(), key=FORGED)
    find(yes_if(answer.get("type") == "invalid", kind(answer)))
