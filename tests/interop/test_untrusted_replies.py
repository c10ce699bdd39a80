"""The module believes a reply only from the sidecar's own connection and with the right MAC.

Here a component of ours plays the sidecar, so that it can see the ids and choose its words.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import pytest
import pytest_asyncio
from conftest import open_world
from host_servers import CAPULET, GOSSIP, SIDECAR, HostServer, HostSettings
from link_requests import NAMESPACE, reply
from raw_component import IQ, connect_component
from raw_stream import DIALBACK, RawStream, condition
from world import Visit, World

VALID = f"<verdict xmlns='{NAMESPACE}' type='valid'/>"
RESULT = DIALBACK + "result"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(host_kind: Callable[[HostSettings], HostServer]) -> AsyncIterator[World]:
    async with open_world(host_kind(HostSettings())) as opened:
        await opened.sidecar.stop()
        await opened.host.sidecar_gone(SIDECAR)
        yield opened


@dataclass
class Impostor:
    """In the sidecar's place, with one check to answer; `stream` is the asking peer's."""

    link: RawStream
    asked: Element
    stream: RawStream
    secret: str

    async def outcome(self) -> tuple[str | None, str | None]:
        answer = await self.stream.receive(RESULT)
        return answer.get("type"), condition(answer)


@pytest_asyncio.fixture(loop_scope="session")
async def impostor(visit: Visit) -> AsyncIterator[Impostor]:
    secret = visit.host.link(SIDECAR).secret
    link = await connect_component(SIDECAR, secret, *visit.host.component_place(SIDECAR))
    asked, stream = await asked_to_check(visit, link)
    yield Impostor(link, asked, stream, secret)
    await link.close()
    await visit.host.sidecar_gone(SIDECAR)


async def asked_to_check(visit: Visit, link: RawStream) -> tuple[Element, RawStream]:
    peer = await visit.peer()
    stream = await visit.stream(peer)
    await peer.request(stream, target=CAPULET)
    check = f"{{{NAMESPACE}}}check"
    asked = await link.receive(IQ, where=lambda iq: len(iq) == 1 and iq[0].tag == check)
    return asked, stream


async def test_reply_with_the_right_mac_is_believed(impostor: Impostor) -> None:
    await impostor.link.send(reply(impostor.asked, VALID, secret=impostor.secret))
    assert await impostor.outcome() == ("valid", None)


@pytest.mark.parametrize("secret", [None, "", "a guess"], ids=["none", "empty", "wrong"])
async def test_reply_with_any_other_mac_is_an_outage(
    impostor: Impostor, secret: str | None
) -> None:
    await impostor.link.send(reply(impostor.asked, VALID, secret=secret))
    assert await impostor.outcome() == ("error", "internal-server-error")


async def test_verdict_altered_after_it_was_signed_is_an_outage(impostor: Impostor) -> None:
    signed = reply(impostor.asked, VALID.replace("valid", "invalid"), secret=impostor.secret)
    await impostor.link.send(signed.replace("invalid", "valid"))
    assert await impostor.outcome() == ("error", "internal-server-error")


async def test_reply_to_one_request_is_no_reply_to_another(
    visit: Visit, impostor: Impostor
) -> None:
    other, stream = await asked_to_check(visit, impostor.link)
    signed = reply(impostor.asked, VALID, secret=impostor.secret)
    ids = impostor.asked.get("id", ""), other.get("id", "")
    await impostor.link.send(signed.replace(*ids))
    assert (await stream.receive(RESULT)).get("type") == "error"
    await impostor.link.send(signed)
    assert await impostor.outcome() == ("valid", None)


@pytest.mark.parametrize("claimed", [SIDECAR, CAPULET, GOSSIP])
async def test_reply_through_another_component_settles_nothing(
    visit: Visit, impostor: Impostor, claimed: str
) -> None:
    """Not even with the right id and the right MAC."""
    gossip = await connect_component(GOSSIP, "gossip", *visit.host.component_place(GOSSIP))
    signed = reply(impostor.asked, VALID, sender=claimed, secret=impostor.secret)
    await gossip.send(signed)
    await gossip.send(
        f"<iq type='get' id='end' from='{GOSSIP}' to='{CAPULET}'><ping xmlns='urn:xmpp:ping'/></iq>"
    )
    await gossip.receive(where=lambda element: element.get("id") == "end")
    assert impostor.stream.elements == []
    verdict = VALID.replace("valid", "invalid")
    await impostor.link.send(reply(impostor.asked, verdict, secret=impostor.secret))
    assert await impostor.outcome() == ("invalid", None)
    await gossip.close()


async def test_error_in_place_of_a_verdict_is_an_outage(impostor: Impostor) -> None:
    asked = impostor.asked
    await impostor.link.send(
        f"<iq type='error' id='{asked.get('id')}' from='{SIDECAR}' to='{CAPULET}'>"
        "<error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    )
    assert await impostor.outcome() == ("error", "internal-server-error")


@pytest.mark.parametrize(
    "inside",
    [
        "",
        f"<key xmlns='{NAMESPACE}'>5e5e</key>",
        f"<verdict xmlns='{NAMESPACE}' type='perhaps'/>",
        f"<verdict xmlns='{NAMESPACE}'/>",
        VALID.replace(NAMESPACE, "urn:else"),
    ],
    ids=["nothing", "a key", "no known type", "no type", "another namespace"],
)
async def test_reply_that_is_no_verdict_is_an_outage(impostor: Impostor, inside: str) -> None:
    secret = impostor.secret if inside else None
    await impostor.link.send(reply(impostor.asked, inside, secret=secret))
    assert await impostor.outcome() == ("error", "internal-server-error")
