"""The server's own TLS policy for each domain pair, caps, and whose keys count when."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from prosody_stage import CAPULET, FIRST, PEER, OpenStage
from raw_stream import DIALBACK, condition

from sidecar.lab.certificates import Authority, self_signed
from sidecar.lab.prosody_config import ExternalComponent

pytest_plugins = ["prosody_fixtures"]
pytestmark = pytest.mark.interop

_CERTIFICATE = "{urn:dialback-sidecar:1}certificate"


async def test_secure_auth_holds_for_every_pair_of_a_stream(open_stage: OpenStage) -> None:
    authority = Authority()
    stage = await open_stage(
        s2s_secure_auth=True,
        trusted_pem=authority.pem,
        certificates={CAPULET: authority.issue(CAPULET)},
    )
    stage.peer.client_certificate = authority.issue(PEER, "b.peer.example")
    stream = await stage.stream()
    for sender in (PEER, "b.peer.example", "other.example"):
        await stage.claim(stream, sender=sender)
    assert await stage.answer(stream) == ("valid", None)
    assert await stage.answer(stream, "b.peer.example") == ("valid", None)
    assert await stage.answer(stream, "other.example") == ("error", "not-authorized")
    checks = stage.sidecar.asked("check")
    assert [check["sender"] for check in checks] == [PEER, "b.peer.example"]
    assert [check["chain"] for check in checks] == ["valid", "valid"]
    assert [len(check.payload.findall(_CERTIFICATE)) for check in checks] == [2, 2]


async def test_insecure_domains_are_excepted_pair_by_pair(open_stage: OpenStage) -> None:
    stage = await open_stage(s2s_secure_auth=True, global_options={"s2s_insecure_domains": [PEER]})
    stream = await stage.stream()
    await stage.claim(stream)
    await stage.claim(stream, sender="other.example")
    assert await stage.answer(stream, "other.example") == ("error", "not-authorized")
    assert await stage.answer(stream) == ("valid", None)


async def test_request_in_the_clear_is_refused_and_verify_answered(open_stage: OpenStage) -> None:
    stage = await open_stage(s2s_require_encryption=True)
    stream = await stage.stream(tls=False)
    await stage.claim(stream)
    assert await stage.answer(stream) == ("error", "policy-violation")
    await stream.db_verify(sender=CAPULET, target=PEER, stream="D60", key="b483")
    assert (await stream.receive(DIALBACK + "verify")).get("type") == "invalid"
    assert [request.job for request in stage.sidecar.requests] == ["verify"]


async def test_self_signed_certificate_goes_to_the_sidecar_with_its_fault(
    open_stage: OpenStage,
) -> None:
    stage = await open_stage()
    stage.peer.client_certificate = self_signed(PEER)
    stream = await stage.stream()
    await stage.claim(stream)
    assert await stage.answer(stream) == ("valid", None)
    (check,) = stage.sidecar.asked("check")
    assert check["encrypted"] == "true"
    assert "self" in check["chain"]
    assert len(check.payload.findall(_CERTIFICATE)) == 1


async def test_peer_without_a_certificate_is_checked_without_one(open_stage: OpenStage) -> None:
    stage = await open_stage()
    stage.peer.client_certificate = None
    stream = await stage.stream()
    await stage.claim(stream)
    assert await stage.answer(stream) == ("valid", None)
    (check,) = stage.sidecar.asked("check")
    assert check["encrypted"] == "true"
    assert check.payload.findall(_CERTIFICATE) == []


async def test_checks_of_a_stream_are_capped_and_repeats_not_counted(
    open_stage: OpenStage,
) -> None:
    stage = await open_stage(options={"dialback_sidecar_check_limit": 3})
    stage.sidecar.held.add("check")
    stream = await stage.stream()
    for sender in ("a.example", "a.example", "b.example", "a.example", "c.example", "d.example"):
        await stage.claim(stream, sender=sender)
    assert await stage.answer(stream, "d.example") == ("error", "resource-constraint")
    assert await stage.settled(stream) == []
    for _ in range(3):
        await stage.sidecar.next_held()
    assert len(stage.sidecar.asked("check")) == 3


async def test_verifications_of_a_stream_are_capped(open_stage: OpenStage) -> None:
    stage = await open_stage(options={"dialback_sidecar_verify_limit": 2})
    stage.sidecar.held.add("verify")
    stream = await stage.stream()
    for number in range(3):
        await stream.db_verify(sender=CAPULET, target=PEER, stream=f"D6{number}", key="b483")
    refused = await stream.receive(DIALBACK + "verify")
    assert (refused.get("id"), condition(refused)) == ("D62", "resource-constraint")
    held = [await stage.sidecar.next_held() for _ in range(2)]
    for request in held:
        await stage.sidecar.answer(request)
    stage.sidecar.held.clear()
    for _ in range(2):
        assert (await stream.receive(DIALBACK + "verify")).get("type") == "invalid"
    await stream.db_verify(sender=CAPULET, target=PEER, stream="D63", key="b483")
    assert (await stream.receive(DIALBACK + "verify")).get("type") == "invalid"


async def test_key_of_the_stock_secret_counts_only_for_a_while_after_bolting_on_live(
    open_stage: OpenStage,
) -> None:
    stage = await open_stage(global_options={"dialback_secret": "stock"})
    stream = await stage.stream()

    async def ask(key: str) -> str | None:
        await stream.db_verify(sender=CAPULET, target=PEER, stream="D60", key=key)
        return (await stream.receive(DIALBACK + "verify")).get("type")

    key = _stock_key("stock", "D60")
    assert await ask(key) == "invalid", "a server that starts has no key of its own under way"
    await stage.reload()
    assert await ask(key) == "invalid", "a reload opens no second chance"
    await stage.undo()
    assert await ask(key) == "valid"
    await stage.bolt_on()
    assert await ask(key) == "valid", "it may be under way"
    assert await ask(_stock_key("guessed", "D60")) == "invalid"


async def test_fallback_lets_the_stock_module_decide_during_an_outage(
    open_stage: OpenStage,
) -> None:
    stage = await open_stage(options={"dialback_sidecar_fallback": "native"}, connected=False)
    await stage.write("by stock")
    assert await stage.delivered() == "by stock"
    stream = await stage.stream()
    await stage.claim(stream)
    assert await stage.answer(stream) == ("valid", None)
    await stream.db_verify(sender=CAPULET, target=PEER, stream="D60", key="b483")
    unknown = await stream.receive(DIALBACK + "verify")
    assert (unknown.get("type"), condition(unknown)) == ("error", "internal-server-error")


async def test_fallback_gets_by_with_a_mute_sidecar_and_stops_asking_it(
    open_stage: OpenStage,
) -> None:
    options = {"dialback_sidecar_fallback": "native", "dialback_sidecar_timeout": 1}
    stage = await open_stage(options=options)
    stage.sidecar.held |= {"issue", "check", "verify"}
    stream = await stage.stream()
    await stage.claim(stream)
    await stage.sidecar.next_held()
    await stage.write("by stock")
    assert await stage.delivered() == "by stock"
    assert await stage.answer(stream) == ("valid", None), "settled with the issue, not after 15 s"
    await stage.claim(stream, sender="b.peer.example")
    await stage.settled(stream)
    assert len(stage.sidecar.asked("check")) == 1


@pytest.mark.parametrize("place", ["a VirtualHost", "a second Component"])
async def test_module_enabled_in_the_wrong_place_says_so_and_works_in_the_right_one(
    open_stage: OpenStage, place: str
) -> None:
    if place == "a VirtualHost":
        settings = {"host_options": {CAPULET: {"modules_enabled": ["dialback_sidecar"]}}}
    else:
        settings = {"host_options": {"gossip.example": {"modules_enabled": ["dialback_sidecar"]}}}
    stage = await open_stage(**settings, more_components=[ExternalComponent("gossip.example", "x")])
    says = "belongs in the sidecar's own section|already enabled for"
    assert len(stage.prosody.output.find(rf"error\t.*({says})")) == 1
    if stage.prosody.output.find(f"{FIRST}.*already enabled"):
        return  # whichever section Prosody took first has it
    stream = await stage.stream()
    await stage.claim(stream)
    assert await stage.answer(stream) == ("valid", None)


def _stock_key(secret: str, stream_id: str) -> str:
    """XEP-0185 as mod_dialback computes it."""
    hashed = hashlib.sha256(secret.encode()).hexdigest().encode()
    return hmac.new(hashed, f"{PEER} {CAPULET} {stream_id}".encode(), hashlib.sha256).hexdigest()
