"""Rules about peers, asked by the real servers: set over the API, they hold for the next handshake.

A rule refuses with a dialback error, so that the peer's stream and its other domain pairs live.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree.ElementTree import Element

import pytest
import pytest_asyncio
from host_servers import CAPULET
from raw_peer import RawPeer
from raw_stream import RawStream, condition
from sidecar_api import api
from world import MESSAGE, Visit, body, message

from sidecar.lab.certificates import Certificate, self_signed
from sidecar.pkix.pins import pin_of

SetRule = Callable[..., Awaitable[None]]
RemoveRule = Callable[[str], Awaitable[None]]
OTHER_PIN = "5e" * 32


@pytest_asyncio.fixture(loop_scope="session")
async def set_rule(visit: Visit) -> AsyncIterator[SetRule]:
    """Sets a rule, which goes with the test."""
    patterns: set[str] = set()

    async def set_rule(pattern: str, **content: Any) -> None:
        patterns.add(pattern)
        await api(visit.sidecar, "PUT", f"/v1/peers/{pattern}", content)

    yield set_rule
    rules = (await api(visit.sidecar, "GET", "/v1/peer-rules"))["items"]
    for pattern in patterns & {rule["domain"] for rule in rules}:
        await api(visit.sidecar, "DELETE", f"/v1/peers/{pattern}")


@pytest.fixture
def remove_rule(visit: Visit) -> RemoveRule:
    async def remove_rule(pattern: str) -> None:
        await api(visit.sidecar, "DELETE", f"/v1/peers/{pattern}")

    return remove_rule


def pin(certificate: Certificate) -> str:
    found = pin_of(certificate.der)
    assert found is not None
    return found


def said(answer: Element) -> tuple[str | None, str | None]:
    return answer.get("type"), condition(answer)


async def present(peer: RawPeer, stream: RawStream) -> tuple[str | None, str | None]:
    """Present a key; the type of the answer and its condition."""
    return said(await peer.authenticate(stream, target=CAPULET))


async def write_to(visit: Visit, peer: RawPeer) -> RawStream:
    """Juliet writes to romeo at the peer; her stream."""
    juliet = await visit.log_in("juliet")
    await juliet.send(message(to=f"romeo@{peer.domain}", text="psst"))
    return juliet


async def assert_no_key(visit: Visit, peer: RawPeer, reason: str) -> None:
    """What juliet writes comes back, and the peer has seen no key."""
    juliet = await write_to(visit, peer)
    assert (await juliet.receive(MESSAGE)).get("type") == "error"
    assert peer.requests.empty()
    line = await visit.decided("issue", sender=CAPULET, target=peer.domain, outcome="error")
    assert reason in line


DENIED = ("error", "policy-violation")
NOT_AUTHORIZED = ("error", "not-authorized")


async def test_denied_peer_gets_a_dialback_error_and_is_let_in_again_on_its_stream(
    visit: Visit, set_rule: SetRule, remove_rule: RemoveRule
) -> None:
    peer = await visit.peer()
    stream = await visit.stream(peer)
    await set_rule(peer.domain, action="deny", reason="spam")
    assert await present(peer, stream) == DENIED
    assert peer.requests.empty()
    assert visit.network_asked_for(peer.domain) == []
    line = await visit.decided("check", sender=peer.domain, target=CAPULET, outcome="error")
    assert "policy-denied" in line
    await remove_rule(peer.domain)
    assert await present(peer, stream) == ("valid", None)
    assert visit.stock_acts() == []


async def test_denied_domain_leaves_the_others_on_its_stream_alone(
    visit: Visit, set_rule: SetRule
) -> None:
    peer = await visit.peer_for("good-77.example", "bad-77.example")
    stream = await visit.stream(peer)
    await set_rule("bad-77.example", action="deny")
    assert await present(peer, stream) == ("valid", None)
    answer = await peer.authenticate(stream, target=CAPULET, sender="bad-77.example")
    assert said(answer) == DENIED
    juliet = await visit.log_in("juliet")
    await juliet.send("<presence/>")
    await stream.send(
        message(to=f"juliet@{CAPULET}", sender="romeo@good-77.example", text="still here")
    )
    arrived = await juliet.receive(MESSAGE, where=lambda element: body(element) == "still here")
    assert arrived.get("from") == "romeo@good-77.example"


async def test_denied_peer_gets_no_key_and_one_again_when_it_is_allowed(
    visit: Visit, set_rule: SetRule, remove_rule: RemoveRule
) -> None:
    peer = await visit.peer()
    await set_rule(peer.domain, action="deny")
    await assert_no_key(visit, peer, "policy-denied")
    await remove_rule(peer.domain)
    await write_to(visit, peer)
    assert body(await peer.next_stanza()) == "psst"


async def test_rule_for_all_below_a_domain_and_the_exception_to_it(
    visit: Visit, set_rule: SetRule
) -> None:
    parent = (await visit.peer()).domain
    peer = await visit.peer_for(f"xmpp.{parent}")
    stream = await visit.stream(peer)
    await set_rule(f"*.{parent}", action="deny")
    assert await present(peer, stream) == DENIED
    await set_rule(peer.domain)
    assert await present(peer, stream) == ("valid", None)


async def test_stream_that_is_verified_goes_on(visit: Visit, set_rule: SetRule) -> None:
    """What a rule does not cover, as it is said where rules are shown."""
    peer = await visit.peer()
    stream = await visit.stream(peer)
    assert await present(peer, stream) == ("valid", None)
    await set_rule(peer.domain, action="deny")
    juliet = await visit.log_in("juliet")
    await juliet.send("<presence/>")
    await stream.send(message(to=f"juliet@{CAPULET}", sender=f"romeo@{peer.domain}", text="going"))
    await juliet.receive(MESSAGE, where=lambda element: body(element) == "going")


async def test_encryption_is_required_of_a_peer_that_presents_a_key(
    visit: Visit, set_rule: SetRule
) -> None:
    peer = await visit.peer()
    await set_rule(peer.domain, require_encryption=True)
    assert await present(peer, await visit.stream(peer, tls=False)) == DENIED
    line = await visit.decided("check", sender=peer.domain, target=CAPULET, outcome="error")
    assert "policy-encryption-required" in line
    assert await present(peer, await visit.stream(peer)) == ("valid", None)


async def test_encryption_is_required_before_a_key_is_issued(
    visit: Visit, set_rule: SetRule, remove_rule: RemoveRule
) -> None:
    peer = await visit.peer(tls=False)
    await set_rule(peer.domain, require_encryption=True)
    await assert_no_key(visit, peer, "policy-encryption-required")
    await remove_rule(peer.domain)
    await write_to(visit, peer)
    assert body(await peer.next_stanza()) == "psst"


async def test_pin_is_asked_of_the_server_that_answers_for_the_peer(
    visit: Visit, set_rule: SetRule
) -> None:
    peer = await visit.peer()
    await set_rule(peer.domain, pins=[OTHER_PIN])
    assert await present(peer, await visit.stream(peer)) == NOT_AUTHORIZED
    assert peer.requests.empty()
    line = await visit.decided("check", sender=peer.domain, target=CAPULET, outcome="error")
    assert "policy-pin-mismatch" in line and pin(peer.certificate) in line
    await set_rule(peer.domain, pins=[OTHER_PIN, pin(peer.certificate)])
    assert await present(peer, await visit.stream(peer)) == ("valid", None)
    assert await present(peer, await visit.stream(peer, tls=False)) == DENIED


async def test_pin_is_asked_of_the_certificate_that_a_peer_shows_with_its_key(
    visit: Visit, set_rule: SetRule
) -> None:
    peer = await visit.peer()
    await set_rule(peer.domain, pins=[pin(peer.certificate)])
    peer.client_certificate = self_signed(peer.domain)
    assert await present(peer, await visit.stream(peer)) == NOT_AUTHORIZED
    assert visit.network_asked_for(peer.domain) == []
    peer.client_certificate = peer.certificate
    assert await present(peer, await visit.stream(peer)) == ("valid", None)


async def test_pin_is_asked_before_a_key_is_issued(visit: Visit, set_rule: SetRule) -> None:
    peer = await visit.peer()
    await set_rule(peer.domain, pins=[OTHER_PIN])
    await assert_no_key(visit, peer, "policy-pin-mismatch")
    await set_rule(peer.domain, pins=[pin(peer.certificate)])
    await write_to(visit, peer)
    assert body(await peer.next_stanza()) == "psst"


async def test_evidence_that_does_not_suffice_lets_nobody_in(
    visit: Visit, set_rule: SetRule
) -> None:
    peer = await visit.peer()
    stream = await visit.stream(peer)
    await set_rule(peer.domain, evidence=["certificate"])
    assert await present(peer, stream) == NOT_AUTHORIZED
    assert peer.requests.empty()
    await set_rule(peer.domain, evidence=["key"])
    assert await present(peer, stream) == ("valid", None)
    line = await visit.decided("check", sender=peer.domain, target=CAPULET, outcome="valid")
    assert "(key)" in line


async def test_rule_ends_at_its_time(visit: Visit, set_rule: SetRule) -> None:
    peer = await visit.peer()
    stream = await visit.stream(peer)
    expires = datetime.now(UTC) + timedelta(seconds=2)
    await set_rule(peer.domain, action="deny", expires=expires.isoformat())
    async with asyncio.timeout(30):
        answers = [await present(peer, stream)]
        while answers[-1] == DENIED:
            answers.append(await present(peer, stream))
    assert answers[0] == DENIED and answers[-1] == ("valid", None)
    assert datetime.now(UTC) >= expires


async def test_refusal_and_its_rule_are_in_the_history(visit: Visit, set_rule: SetRule) -> None:
    peer = await visit.peer()
    await set_rule(peer.domain, pins=[OTHER_PIN])
    await present(peer, await visit.stream(peer))
    await assert_no_key(visit, peer, "policy-pin-mismatch")
    page = await api(visit.sidecar, "GET", f"/v1/handshakes?peer={peer.domain}")
    found = {each["direction"]: each for each in page["items"]}
    assert {each["reason"] for each in found.values()} == {"policy-pin-mismatch"}
    for handshake, failed in ((found["incoming"], "answer"), (found["outgoing"], "policy")):
        shown = await api(visit.sidecar, "GET", f"/v1/handshakes/{handshake['id']}")
        first = shown["steps"][0]
        assert (first["name"], first["detail"]) == ("policy", f"rule {peer.domain}")
        names = [step["name"] for step in shown["steps"] if step.get("reason")]
        assert failed in names
