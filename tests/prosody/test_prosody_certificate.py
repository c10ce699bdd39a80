"""The peer's certificate goes along with an issue when the sidecar asks for it, and then once."""

from __future__ import annotations

import asyncio
import base64
from xml.etree.ElementTree import Element

import pytest
from prosody_stage import CAPULET, PEER, OpenStage, Stage
from raw_peer import DIALBACK_FEATURE
from scripted_sidecar import Request, key, verdict

pytest_plugins = ["prosody_fixtures"]
pytestmark = pytest.mark.interop

_CERTIFICATE = "{urn:dialback-sidecar:1}certificate"
_BIDI = "<bidi xmlns='urn:xmpp:features:bidi'/>"


def _wanted(_: Request) -> Element:
    return verdict("error", condition="not-authorized", reason="certificate-wanted")


def _as_pinned(request: Request) -> Element:
    """A sidecar with a rule that pins a key, which any certificate meets."""
    if request.payload.get("certificate") == "on-demand":
        return _wanted(request)
    if request.payload.find(_CERTIFICATE) is None:
        return verdict("error", condition="not-authorized", reason="policy-pin-mismatch")
    return key("b4835385f37fe289")


def _facts(request: Request) -> dict[str, str]:
    left_out = ("certificate", "remaining", "mac")
    return {name: value for name, value in request.payload.items() if name not in left_out}


def _remaining(request: Request) -> int:
    return int(request.iq[0].attrib["remaining"])


async def _assert_no_key(stage: Stage) -> None:
    """What juliet writes comes back, and the peer has seen no key."""
    await stage.write("lost")
    assert await stage.bounced() == "remote-server-timeout"
    assert stage.peer.requests.empty()


async def test_certificate_is_not_sent_as_long_as_nobody_wants_it(open_stage: OpenStage) -> None:
    stage = await open_stage()
    await stage.write("encrypted")
    assert await stage.delivered() == "encrypted"
    await stage.start_over()
    stage.peer.tls = False
    await stage.write("in the clear")
    assert await stage.delivered() == "in the clear"
    issues = stage.sidecar.asked("issue")
    assert [issue.payload.get("certificate") for issue in issues] == ["on-demand", None]
    assert [issue["encrypted"] for issue in issues] == ["true", "false"]
    assert [len(issue.payload) for issue in issues] == [0, 0]


async def test_certificate_that_is_wanted_comes_with_the_same_facts_in_the_time_left(
    open_stage: OpenStage,
) -> None:
    stage = await open_stage()
    stage.sidecar.answers["issue"] = _as_pinned
    stage.sidecar.held.add("issue")
    await stage.write("pinned")
    first = await stage.sidecar.next_held()
    await asyncio.sleep(0.2)  # that much less is left
    await stage.sidecar.answer(first)
    again = await stage.sidecar.next_held()
    assert again.payload.get("certificate") is None
    (certificate,) = again.payload
    assert base64.b64decode(certificate.text or "") == stage.peer.certificate.der
    assert _facts(again) == _facts(first)
    assert again.iq.get("id") != first.iq.get("id")
    assert _remaining(again) <= _remaining(first) - 150
    await stage.sidecar.answer(again)
    assert await stage.delivered() == "pinned"


async def test_certificate_is_sent_once_and_then_there_is_no_key(open_stage: OpenStage) -> None:
    stage = await open_stage()
    stage.sidecar.answers["issue"] = _wanted
    await _assert_no_key(stage)
    assert len(stage.sidecar.asked("issue")) == 2
    stage.sidecar.requests.clear()
    stage.peer.tls = False
    await _assert_no_key(stage)
    assert len(stage.sidecar.asked("issue")) == 1, "there is none on cleartext"


async def test_silence_after_a_certificate_was_wanted_is_no_way_around_the_rule(
    open_stage: OpenStage,
) -> None:
    """With the fallback, too, which issues a key of its own in any other outage."""
    options = {"dialback_sidecar_fallback": "native", "dialback_sidecar_timeout": 1}
    stage = await open_stage(options=options)

    def fall_silent(request: Request) -> Element | None:
        return _wanted(request) if request.payload.get("certificate") else None

    stage.sidecar.answers["issue"] = fall_silent
    await _assert_no_key(stage)
    assert len(stage.sidecar.asked("issue")) == 2


async def test_one_of_a_batch_that_wants_a_certificate_holds_up_no_other(
    open_stage: OpenStage,
) -> None:
    """On a bidirectional stream of ours the peer's questions come right behind its features."""
    stage = await open_stage(modules=["s2s_bidi"])
    stage.sidecar.answers["issue"] = _as_pinned
    stage.peer.dialback_feature = _BIDI + DIALBACK_FEATURE
    stage.peer.after_features = "".join(
        f"<db:verify from='{PEER}' to='{CAPULET}' id='D6{n}'>b483</db:verify>" for n in range(2)
    )
    await stage.write("pinned")
    assert await stage.delivered() == "pinned"
    first, again = stage.sidecar.asked("issue")
    assert [each.job for each in first.stanza.requests] == ["issue", "verify", "verify"]
    assert not again.stanza.is_batch
    assert len(stage.sidecar.asked("verify")) == 2
    verdicts = [e.get("type") for e in stage.peer.streams[0].everything if e.get("id")]
    assert verdicts == ["invalid", "invalid"]
