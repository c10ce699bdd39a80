"""A key issued here proves one domain pair on one stream, and nothing else (XEP-0220 §2.2.2)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from host_servers import CAPULET, VERONA
from raw_peer import RawPeer
from raw_stream import DIALBACK, RawStream
from world import Visit, message

AT_ONCE = 16


@dataclass(frozen=True)
class Presented:
    """What a verify request is about."""

    sender: str
    target: str
    stream: str
    key: str


async def issued_to(peer: RawPeer, visit: Visit, *, sender_user: str = "juliet") -> Presented:
    """Have the host server send `peer` a key, and leave it without an answer."""
    peer.on_result = peer.ignore
    user = await visit.log_in(sender_user)
    await user.send(f"<message to='romeo@{peer.domain}'><body>art thou there?</body></message>")
    stream, element = await peer.next_request("result")
    header = stream.sent_headers[-1]
    return Presented(
        element.get("from", ""), element.get("to", ""), header["id"], element.text or ""
    )


async def ask(stream: RawStream, asked: Presented) -> str | None:
    return (await ask_all(stream, [asked]))[0].get("type")


async def ask_all(stream: RawStream, asked: list[Presented]) -> list[Element]:
    """Ask on one stream, some at a time, and return the answers in the order they came."""
    answers = []
    for start in range(0, len(asked), AT_ONCE):
        batch = asked[start : start + AT_ONCE]
        for one in batch:
            await stream.db_verify(
                sender=one.sender, target=one.target, stream=one.stream, key=one.key
            )
        answers += [await stream.receive(DIALBACK + "verify") for _ in batch]
    return answers


async def test_authoritative_server_confirms_the_key_it_issued(visit: Visit) -> None:
    peer = await visit.peer()
    issued = await issued_to(peer, visit)
    stream = await visit.stream(peer)
    await stream.db_verify(**dataclasses.asdict(issued))
    answer = await stream.receive(DIALBACK + "verify")
    assert answer.attrib == {
        "from": issued.sender, "to": issued.target, "id": issued.stream, "type": "valid"
    }  # fmt: skip
    await visit.decided("verify", sender=CAPULET, target=peer.domain, outcome="valid")
    assert visit.stock_acts() == []


async def test_key_altered_in_any_character_is_invalid_and_does_not_use_it_up(
    visit: Visit,
) -> None:
    peer = await visit.peer()
    issued = await issued_to(peer, visit)
    stream = await visit.stream(peer)
    altered = [
        issued.key[:place] + ("0" if character != "0" else "1") + issued.key[place + 1 :]
        for place, character in enumerate(issued.key)
    ]
    altered += [issued.key[:-1], issued.key + "0", issued.key.upper(), "0" * 64]
    answers = await ask_all(stream, [dataclasses.replace(issued, key=key) for key in altered])
    assert [answer.get("type") for answer in answers] == ["invalid"] * len(altered)
    assert await ask(stream, issued) == "valid"


async def test_key_is_invalid_for_any_other_sender_target_or_stream_id(visit: Visit) -> None:
    peer = await visit.peer()
    issued = await issued_to(peer, visit)
    stream = await visit.stream(peer)
    mistaken = [
        dataclasses.replace(issued, sender=VERONA),
        dataclasses.replace(issued, sender="rooms.capulet.example"),
        dataclasses.replace(issued, target="other.example"),
        dataclasses.replace(issued, target=f"a.{issued.target}"),
        dataclasses.replace(issued, stream=issued.stream[:-1]),
        dataclasses.replace(issued, stream=issued.stream + "0"),
        dataclasses.replace(issued, stream=issued.stream.upper()),
        dataclasses.replace(issued, stream="0"),
    ]
    answers = await ask_all(stream, mistaken)
    assert [answer.get("type") for answer in answers] == ["invalid"] * len(mistaken)
    assert await ask(stream, issued) == "valid"


async def test_two_hosts_of_one_server_get_different_keys(visit: Visit) -> None:
    peer = await visit.peer()
    of_capulet = await issued_to(peer, visit)
    of_verona = await issued_to(peer, visit, sender_user="escalus")
    assert (of_capulet.sender, of_verona.sender) == (CAPULET, VERONA)
    stream = await visit.stream(peer)
    assert await ask(stream, dataclasses.replace(of_verona, sender=CAPULET)) == "invalid"
    assert await ask(stream, of_verona) == "valid"
    assert await ask(stream, of_capulet) == "valid"


async def test_key_is_padded_with_white_space_by_the_peer_and_still_valid(visit: Visit) -> None:
    peer = await visit.peer()
    issued = await issued_to(peer, visit)
    stream = await visit.stream(peer)
    assert await ask(stream, dataclasses.replace(issued, key=f"\n  {issued.key}\t")) == "valid"


async def test_verify_request_for_a_domain_not_hosted_here_is_item_not_found(
    visit: Visit,
) -> None:
    peer = await visit.peer()
    issued = await issued_to(peer, visit)
    stream = await visit.stream(peer)
    answers = await ask_all(stream, [dataclasses.replace(issued, sender="nowhere.example")])
    assert answers[0].get("type") == "error"
    assert answers[0].find(".//{urn:ietf:params:xml:ns:xmpp-stanzas}item-not-found") is not None
    assert await ask(stream, issued) == "valid"


async def test_peer_that_was_shown_a_key_can_be_written_to(visit: Visit) -> None:
    peer = await visit.peer()
    juliet = await visit.log_in("juliet")
    await juliet.send(message(to=f"romeo@{peer.domain}", text="hi"))
    stanza = await peer.next_stanza()
    assert stanza.get("to") == f"romeo@{peer.domain}"
    await visit.decided("issue", sender=CAPULET, target=peer.domain, outcome="valid")
    assert visit.stock_acts() == []
