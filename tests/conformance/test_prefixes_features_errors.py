"""XEP-0220 §2, §2.4 and §2.5: how elements are written, what is advertised, what an error is."""

from __future__ import annotations

import re

from findings import answer_or_end, how_it_ended, kind, yes_if
from guests import Guests
from host_servers import CAPULET
from raw_stream import DIALBACK, STANZA_ERROR, STREAM, RawStream, StreamEnded
from subjects import Subject, on_all

pytestmark = on_all

RESULT, VERIFY = DIALBACK + "result", DIALBACK + "verify"


def prefixes(stream: RawStream, name: str) -> tuple[str, str]:
    """The prefix that the other end's stream header declares for dialback, and the one it uses."""
    said = stream.said.decode()
    declared = re.search(r"xmlns:([\w.-]+)=[\"']jabber:server:dialback[\"']", said)
    used = re.search(rf"<([\w.-]+):{name}\b", said)
    assert declared and used, said
    return declared[1], used[1]


async def prefixes_of_all(subject: Subject, guests: Guests) -> list[tuple[str, str]]:
    """Of each element that a server sends: where it can a request; the question, both answers."""
    peer = await guests.peer()
    found = []
    if subject.c2s_port:
        await subject.issue(guests, peer)
        (requesting,) = peer.streams
        found.append(prefixes(requesting, "result"))
    stream = await guests.stream(peer)
    await peer.request(stream, target=CAPULET)
    asking, _ = await peer.next_request("verify")
    await stream.receive(RESULT)
    await stream.db_verify(sender=CAPULET, target=peer.domain, stream="1", key="5e" * 32)
    await stream.receive(VERIFY)
    found += [prefixes(asking, "verify"), prefixes(stream, "result"), prefixes(stream, "verify")]
    return found


async def test_prefix_is_the_one_of_the_own_stream_header(
    subject: Subject, guests: Guests, find
) -> None:
    found = await prefixes_of_all(subject, guests)
    find(yes_if(all(declared == used for declared, used in found), f"{found}"))


async def test_prefix_is_db(subject: Subject, guests: Guests, find) -> None:
    found = await prefixes_of_all(subject, guests)
    find(yes_if(all(used == "db" for _, used in found), f"{found}"))


async def test_dialback_errors_are_advertised(guests: Guests, find) -> None:
    peer = await guests.peer()
    stream = await guests.stream(peer)
    features = [e for e in stream.everything if e.tag == STREAM + "features"][-1]
    feature = "{urn:xmpp:features:dialback}"
    inside = features.find(f"{feature}dialback/{feature}errors")
    find(yes_if(inside is not None, "the feature does not mention errors"))


async def test_dialback_error_is_sent_instead_of_closing_the_stream(guests: Guests, find) -> None:
    """To a request that cannot be read: it has no `from`."""
    peer = await guests.peer()
    stream = await guests.stream(peer)
    await stream.send(f"<db:result to='{CAPULET}'>{'5e' * 32}</db:result>")
    answer = await answer_or_end(stream, RESULT)
    find(yes_if(answer.startswith("error "), answer))


async def test_error_of_the_authoritative_server_is_remote_server_not_found(
    guests: Guests, find
) -> None:
    peer = await guests.peer()
    peer.on_verify = peer.verify_with_error
    stream = await guests.stream(peer)
    await peer.request(stream, target=CAPULET)
    answer = await answer_or_end(stream, RESULT)
    find(yes_if(answer == "error remote-server-not-found", answer))


async def shape_of_error(stream: RawStream, name: str) -> str:
    try:
        answer = await stream.receive(name)
    except StreamEnded:
        return f"no errors, {how_it_ended(stream)}"
    if answer.get("type") != "error":
        return f"no errors, {kind(answer)}"
    error = answer.find("{jabber:server}error")
    if error is None:
        return f"no, {[child.tag for child in answer]}"
    return yes_if(any(e.tag.startswith(STANZA_ERROR) for e in error), "without a condition")


async def test_result_of_type_error_has_an_error_with_a_condition(guests: Guests, find) -> None:
    peer = await guests.peer()
    stream = await guests.stream(peer)
    await peer.request(stream, target="nowhere.example")
    find(await shape_of_error(stream, RESULT))


async def test_verify_of_type_error_has_an_error_with_a_condition(guests: Guests, find) -> None:
    peer = await guests.peer()
    stream = await guests.stream(peer)
    await stream.db_verify(sender="nowhere.example", target=peer.domain, stream="1", key="5e" * 32)
    find(await shape_of_error(stream, VERIFY))
