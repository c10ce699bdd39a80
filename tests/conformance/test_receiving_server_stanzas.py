"""XEP-0220 §2.2.1: which stanzas the Receiving Server accepts."""

from __future__ import annotations

from findings import answer_or_end, yes_if
from guests import Guests, message
from host_servers import CAPULET, VERONA
from raw_peer import RawPeer
from raw_stream import DIALBACK, RawStream
from subjects import on_servers

pytestmark = on_servers

RESULT = DIALBACK + "result"


def stanza(peer: RawPeer, text: str) -> str:
    return message(sender=f"romeo@{peer.domain}", to=f"juliet@{CAPULET}", text=text)


async def arrived(guests: Guests, stream: RawStream, juliet: RawStream) -> list[str]:
    """What reached juliet of all that was sent on `stream`, whether it is open or not."""
    await stream.send("<db:result from='nobody.example' to='nowhere.example'>00</db:result>")
    await answer_or_end(stream, RESULT)
    return await guests.delivered_to(juliet)


async def test_no_stanza_is_accepted_before_the_sender_domain_is_verified(
    guests: Guests, find
) -> None:
    peer = await guests.peer()
    juliet = await guests.log_in("juliet")
    stream = await guests.stream(peer)
    await stream.send(stanza(peer, "too early"))
    found = await arrived(guests, stream, juliet)
    find(yes_if(found == [], f"{found}"))


async def test_stanzas_of_a_verified_pair_are_accepted_while_another_waits(
    guests: Guests, find
) -> None:
    peer = await guests.peer()
    juliet = await guests.log_in("juliet")
    stream = await guests.stream(peer)
    await peer.authenticate(stream, target=CAPULET)
    peer.on_verify = peer.ignore
    await peer.request(stream, target=VERONA)
    await peer.next_request("verify")
    await stream.send(stanza(peer, "meanwhile"))
    found = await arrived(guests, stream, juliet)
    find(yes_if(found == ["meanwhile"], "they are lost"))


async def test_no_stanza_is_accepted_after_invalid(guests: Guests, find) -> None:
    juliet = await guests.log_in("juliet")
    peer = await guests.peer()
    stream = await guests.stream(peer)
    await stream.db_result(sender=peer.domain, target=CAPULET, key="5e" * 32)
    await answer_or_end(stream, RESULT)
    await stream.send(stanza(peer, "all the same"))
    found = await arrived(guests, stream, juliet)
    find(yes_if(found == [], f"{found}"))
