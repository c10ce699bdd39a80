"""The attacks of 2012 and the plain spoof: an answer nobody asked for authenticates nobody.

In each test `mallory` claims the domain of `victim`, whose server is honest. In the end nothing
of victim's may be verified on any of mallory's streams, and nothing of his reach juliet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import pytest
import pytest_asyncio
from host_servers import CAPULET, ROOMS, VERONA
from raw_peer import RawPeer
from raw_stream import DIALBACK, RawStream, StreamEnded
from world import Visit, message

from sidecar.lab.certificates import self_signed

FORGED = "5e" * 32


@dataclass
class Stage:
    visit: Visit
    mallory: RawPeer
    victim: RawPeer
    juliet: RawStream

    async def claim(self, stream: RawStream, *, key: str = FORGED) -> None:
        """Ask on `stream` to be taken for the victim, with a key that the victim never issued."""
        await stream.db_result(sender=self.victim.domain, target=CAPULET, key=key)

    async def hold_the_check(self, stream: RawStream) -> RawStream:
        """Claim the victim's domain and return the stream on which its server is asked, silent."""
        self.victim.on_verify = self.victim.ignore
        await self.claim(stream)
        asking, _ = await self.victim.next_request("verify")
        return asking

    async def speak_as_victim(self, stream: RawStream) -> None:
        """Send juliet a message as someone of the victim's, and let the server take it in."""
        await stream.send(
            message(sender=f"romeo@{self.victim.domain}", to=f"juliet@{CAPULET}", text="forged")
        )

    async def assert_nothing_came_of_it(self, *streams: RawStream, honest_checks: int = 0) -> None:
        """Speak as the victim on each stream, and find nothing verified and nothing delivered."""
        for stream in streams:
            await self.speak_as_victim(stream)
        for stream in streams:
            # The server closes over the stanza, or answers about a pair: it has read the stanza.
            await stream.db_result(sender="nobody.invalid", target="nowhere.invalid", key="00")
            with suppress(StreamEnded):
                await stream.wait_seen(
                    DIALBACK + "result", where=lambda e: e.get("from") == "nowhere.invalid"
                )
        assert await self.visit.delivered_to(self.juliet) == []
        for stream in (*streams, *self.mallory.streams):
            for element in stream.everything:
                if element.tag == DIALBACK + "result" and element.get("to") == self.victim.domain:
                    assert element.get("type") in ("invalid", "error")
        checks = self.visit.decisions("check", sender=self.victim.domain)
        assert len([line for line in checks if " valid" in line]) == honest_checks
        assert self.visit.stock_acts() == []


@pytest_asyncio.fixture(loop_scope="session")
async def stage(visit: Visit) -> AsyncIterator[Stage]:
    yield Stage(
        visit,
        mallory=await visit.peer("mallory"),
        victim=await visit.peer("victim"),
        juliet=await visit.log_in("juliet"),
    )


async def test_honest_peer_is_believed_and_heard(stage: Stage) -> None:
    """What the attacks below want to reach, reached honestly."""
    stream = await stage.visit.stream(stage.victim)
    answer = await stage.victim.authenticate(stream, target=CAPULET)
    assert answer.get("type") == "valid"
    await stage.speak_as_victim(stream)
    received = await stage.juliet.receive("{jabber:client}message")
    assert received.get("from") == f"romeo@{stage.victim.domain}"


# A spoofed sender domain


@pytest.mark.parametrize("tls", [True, False], ids=["inside TLS", "in the clear"])
async def test_server_that_claims_the_domain_of_another_is_refused(stage: Stage, tls: bool) -> None:
    stream = await stage.visit.stream(stage.mallory, sender=stage.victim.domain, tls=tls)
    await stage.claim(stream)
    answer = await stream.receive(DIALBACK + "result")
    assert answer.attrib["type"] == "invalid"
    await stream.wait_ended()
    _, asked = await stage.victim.next_request("verify")
    assert (asked.get("from"), asked.get("to")) == (CAPULET, stage.victim.domain)
    await stage.assert_nothing_came_of_it(stream)


async def test_certificate_of_mallorys_own_making_proves_nothing(stage: Stage) -> None:
    """It bears the victim's name, and is not the one that the victim's server shows."""
    stage.mallory.client_certificate = self_signed(stage.victim.domain)
    stream = await stage.visit.stream(stage.mallory, sender=stage.victim.domain)
    await stage.claim(stream)
    assert (await stream.receive(DIALBACK + "result")).get("type") == "invalid"
    await stage.assert_nothing_came_of_it(stream)


async def test_own_certificate_of_mallory_proves_nothing_about_the_victim(stage: Stage) -> None:
    stage.mallory.client_certificate = stage.mallory.certificate
    stream = await stage.visit.stream(stage.mallory)
    assert (await stage.mallory.authenticate(stream, target=CAPULET)).get("type") == "valid"
    await stage.claim(stream)
    answer = await stream.receive(DIALBACK + "result")
    assert (answer.get("to"), answer.get("type")) == (stage.victim.domain, "error")
    await stage.assert_nothing_came_of_it(stream)


async def test_key_the_victim_issued_to_us_on_another_stream_is_refused(stage: Stage) -> None:
    """Mallory replays a key that he saw, on a stream with another ID."""
    honest = await stage.visit.stream(stage.victim)
    key = await stage.victim.request(honest, target=CAPULET)
    await honest.receive(DIALBACK + "result")
    stream = await stage.visit.stream(stage.mallory, sender=stage.victim.domain)
    await stage.claim(stream, key=key)
    assert (await stream.receive(DIALBACK + "result")).get("type") == "invalid"
    await stage.assert_nothing_came_of_it(stream, honest_checks=1)


async def test_second_claim_on_a_verified_stream_is_refused_and_the_stream_stays(
    stage: Stage,
) -> None:
    stream = await stage.visit.stream(stage.mallory)
    await stage.mallory.authenticate(stream, target=CAPULET)
    await stage.claim(stream)
    answer = await stream.receive(DIALBACK + "result")
    assert answer.get("to") == stage.victim.domain
    assert answer.get("type") in ("invalid", "error")
    await stream.send(
        message(sender=f"m@{stage.mallory.domain}", to=f"juliet@{CAPULET}", text="still here")
    )
    await stage.juliet.receive("{jabber:client}message")
    await stage.assert_nothing_came_of_it(stream)


async def test_our_own_domain_as_sender_is_refused(stage: Stage) -> None:
    stream = await stage.visit.stream(stage.mallory)
    for sender in (CAPULET, VERONA, ROOMS):
        await stream.db_result(sender=sender, target=CAPULET, key=FORGED)
        answer = await stream.receive(DIALBACK + "result")
        assert (answer.get("to"), answer.get("type")) == (sender, "error")
    assert stage.visit.decisions("check", CAPULET) == []
    await stage.assert_nothing_came_of_it(stream)


# Unsolicited answers on a stream that mallory opened


async def test_unsolicited_verify_response_on_an_inbound_stream_is_dropped(stage: Stage) -> None:
    stream = await stage.visit.stream(stage.mallory, sender=stage.victim.domain)
    await stream.answer_verify(
        sender=stage.victim.domain, target=CAPULET, stream=stream.header["id"], type="valid"
    )
    await stage.assert_nothing_came_of_it(stream)


async def test_unsolicited_dialback_result_on_an_inbound_stream_is_dropped(stage: Stage) -> None:
    stream = await stage.visit.stream(stage.mallory, sender=stage.victim.domain)
    for sender, target in ((stage.victim.domain, CAPULET), (CAPULET, stage.victim.domain)):
        await stream.answer_result(sender=sender, target=target, type="valid")
    await stage.assert_nothing_came_of_it(stream)


async def test_answers_on_the_claiming_stream_do_not_settle_its_pending_check(
    stage: Stage,
) -> None:
    stream = await stage.visit.stream(stage.mallory, sender=stage.victim.domain)
    asking = await stage.hold_the_check(stream)
    await stream.answer_verify(
        sender=stage.victim.domain, target=CAPULET, stream=stream.header["id"], type="valid"
    )
    await stream.answer_result(sender=stage.victim.domain, target=CAPULET, type="valid")
    await stream.answer_result(sender=CAPULET, target=stage.victim.domain, type="valid")
    await stage.victim.verify_honestly(asking, asking.everything[-1])
    assert (await stream.receive(DIALBACK + "result")).get("type") == "invalid"
    await stage.assert_nothing_came_of_it(stream)


async def test_answers_on_another_inbound_stream_do_not_settle_a_pending_check(
    stage: Stage,
) -> None:
    claiming = await stage.visit.stream(stage.mallory, sender=stage.victim.domain)
    other = await stage.visit.stream(stage.mallory)
    await stage.mallory.authenticate(other, target=CAPULET)
    asking = await stage.hold_the_check(claiming)
    await other.answer_verify(
        sender=stage.victim.domain, target=CAPULET, stream=claiming.header["id"], type="valid"
    )
    await other.answer_result(sender=stage.victim.domain, target=CAPULET, type="valid")
    await stage.victim.verify_honestly(asking, asking.everything[-1])
    assert (await claiming.receive(DIALBACK + "result")).get("type") == "invalid"
    await stage.assert_nothing_came_of_it(claiming, other)


# Unsolicited answers on a stream that our server opened to mallory


async def outbound_to_mallory(stage: Stage) -> RawStream:
    """Have juliet write to mallory, and return the stream on which her server came."""
    await stage.juliet.send(message_to(stage.mallory.domain))
    stream, _ = await stage.mallory.next_request("result")
    await stage.mallory.next_stanza()
    return stream


def message_to(domain: str) -> str:
    return f"<message to='mallory@{domain}'><body>who are you?</body></message>"


async def test_unsolicited_answers_on_an_outbound_stream_are_dropped(stage: Stage) -> None:
    outbound = await outbound_to_mallory(stage)
    inbound = await stage.visit.stream(stage.mallory, sender=stage.victim.domain)
    for stream_id in (outbound.sent_headers[-1]["id"], inbound.header["id"]):
        await outbound.answer_verify(
            sender=stage.victim.domain, target=CAPULET, stream=stream_id, type="valid"
        )
    await outbound.answer_result(sender=CAPULET, target=stage.victim.domain, type="valid")
    await outbound.answer_result(sender=stage.victim.domain, target=CAPULET, type="valid")
    await stage.assert_nothing_came_of_it(inbound, outbound)
    # Nor did mallory's stream become the way to the victim.
    await stage.juliet.send(f"<message to='x@{stage.victim.domain}'><body>psst</body></message>")
    await stage.victim.next_stanza()
    assert stage.mallory.stanzas.empty()


async def test_answers_on_an_outbound_stream_do_not_settle_a_pending_check(stage: Stage) -> None:
    outbound = await outbound_to_mallory(stage)
    claiming = await stage.visit.stream(stage.mallory, sender=stage.victim.domain)
    asking = await stage.hold_the_check(claiming)
    await outbound.answer_verify(
        sender=stage.victim.domain, target=CAPULET, stream=claiming.header["id"], type="valid"
    )
    await outbound.answer_result(sender=stage.victim.domain, target=CAPULET, type="valid")
    await stage.victim.verify_honestly(asking, asking.everything[-1])
    assert (await claiming.receive(DIALBACK + "result")).get("type") == "invalid"
    await stage.assert_nothing_came_of_it(claiming, outbound)


async def test_result_that_comes_before_our_key_opens_nothing(stage: Stage) -> None:
    """Mallory says valid at once, for every pair he can think of, and invalid to the key."""
    stage.mallory.after_features = "".join(
        f"<db:result from='{target}' to='{sender}' type='valid'/>"
        for sender, target in (
            (CAPULET, stage.mallory.domain),
            (VERONA, stage.mallory.domain),
            (CAPULET, stage.victim.domain),
        )
    )

    async def refuse(stream: RawStream, element: Element) -> None:
        await stream.answer_result(sender=CAPULET, target=stage.mallory.domain, type="invalid")

    stage.mallory.on_result = refuse
    await stage.juliet.send(message_to(stage.mallory.domain))
    bounced = await stage.juliet.receive("{jabber:client}message")
    assert bounced.get("type") == "error"
    assert stage.mallory.stanzas.empty()


# Answers on the stream on which our sidecar asks mallory's own server


async def test_answer_about_another_pair_on_the_asking_stream_settles_nothing(
    stage: Stage,
) -> None:
    """Mallory's server is asked about mallory, and answers about the victim."""
    claiming = await stage.visit.stream(stage.mallory, sender=stage.victim.domain)
    own = await stage.visit.stream(stage.mallory)
    asking_victim = await stage.hold_the_check(claiming)
    stage.mallory.on_verify = stage.mallory.ignore
    await stage.mallory.request(own, target=CAPULET)
    asking, element = await stage.mallory.next_request("verify")
    for stream_id in (claiming.header["id"], own.header["id"]):
        await asking.answer_verify(
            sender=stage.victim.domain, target=CAPULET, stream=stream_id, type="valid"
        )
    await asking.answer_verify(
        sender=stage.mallory.domain, target=CAPULET, stream=claiming.header["id"], type="valid"
    )
    await stage.mallory.verify_honestly(asking, element)
    await own.receive(DIALBACK + "result")
    await stage.victim.verify_honestly(asking_victim, asking_victim.everything[-1])
    assert (await claiming.receive(DIALBACK + "result")).get("type") == "invalid"
    await stage.assert_nothing_came_of_it(claiming, own)


async def test_dialback_result_on_the_asking_stream_settles_nothing(stage: Stage) -> None:
    stream = await stage.visit.stream(stage.mallory, sender=stage.victim.domain)
    asking = await stage.hold_the_check(stream)
    await asking.answer_result(sender=stage.victim.domain, target=CAPULET, type="valid")
    await asking.answer_result(sender=CAPULET, target=stage.victim.domain, type="valid")
    await stage.victim.verify_honestly(asking, asking.everything[-1])
    assert (await stream.receive(DIALBACK + "result")).get("type") in ("invalid", "error")
    await stage.assert_nothing_came_of_it(stream)
