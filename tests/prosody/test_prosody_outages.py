"""No sidecar, or one that goes, falls silent or lies: errors at once, and quick recovery."""

from __future__ import annotations

from dataclasses import replace
from xml.etree.ElementTree import Element

import pytest
from prosody_stage import CAPULET, FIRST, PEER, SECOND, OpenStage
from raw_stream import DIALBACK, condition
from scripted_sidecar import ScriptedSidecar, key, verdict

pytest_plugins = ["prosody_fixtures"]
pytestmark = pytest.mark.interop

OUTAGE = ("error", "internal-server-error")


async def test_nobody_connected_bounces_and_the_next_stanza_federates(
    open_stage: OpenStage,
) -> None:
    stage = await open_stage(connected=False)
    await stage.write("lost")
    assert await stage.bounced() == "remote-server-timeout"
    stream = await stage.stream()
    await stage.claim(stream)
    assert await stage.answer(stream) == OUTAGE
    await stage.sidecar.connect()
    await stage.write("through")
    assert await stage.delivered() == "through"
    await stage.claim(stream)
    assert await stage.answer(stream) == ("valid", None)


async def test_sidecar_that_dies_with_an_issue_in_flight(open_stage: OpenStage) -> None:
    stage = await open_stage()
    stage.sidecar.held.add("issue")
    await stage.write("lost")
    await stage.sidecar.next_held()
    await stage.sidecar.vanish()
    assert await stage.bounced() == "remote-server-timeout"
    stage.sidecar.held.clear()
    await stage.sidecar.connect()
    await stage.write("through")
    assert await stage.delivered() == "through"


@pytest.mark.parametrize("ending", ["dies", "is reloaded"])
async def test_check_and_verify_in_flight_are_errors_and_the_stream_goes_on(
    open_stage: OpenStage, ending: str
) -> None:
    stage = await open_stage()
    stage.sidecar.held |= {"check", "verify"}
    stream = await stage.stream()
    await stage.claim(stream)
    await stream.db_verify(sender=CAPULET, target=PEER, stream="D60", key="b483")
    for _ in range(2):
        await stage.sidecar.next_held()
    if ending == "dies":
        await stage.sidecar.vanish()
    else:
        await stage.reload()
    assert await stage.answer(stream) == OUTAGE
    verify = await stream.receive(DIALBACK + "verify")
    assert (verify.get("type"), condition(verify), verify.get("id")) == (*OUTAGE, "D60")
    stage.sidecar.held.clear()
    if ending == "dies":
        await stage.sidecar.connect()
    await stage.claim(stream)
    assert await stage.answer(stream) == ("valid", None)


async def test_reload_with_an_issue_in_flight(open_stage: OpenStage) -> None:
    stage = await open_stage()
    stage.sidecar.held.add("issue")
    await stage.write("lost")
    held = await stage.sidecar.next_held()
    await stage.reload()
    assert await stage.bounced() == "remote-server-timeout"
    await stage.sidecar.answer(held)  # too late, for an instance that is gone
    stage.sidecar.held.clear()
    await stage.write("through")
    assert await stage.delivered() == "through"


async def test_reload_keeps_the_key_that_was_sent(open_stage: OpenStage) -> None:
    stage = await open_stage()
    stage.peer.on_result = stage.peer.ignore
    await stage.write("waiting")
    stream, _ = await stage.peer.next_request("result")
    await stage.reload()
    await stream.answer_result(sender=CAPULET, target=PEER, type="valid")
    assert await stage.delivered() == "waiting"


async def test_undone_with_requests_in_flight_the_stock_module_finishes_them(
    open_stage: OpenStage,
) -> None:
    stage = await open_stage()
    stage.sidecar.held |= {"issue", "check"}
    await stage.write("by stock")
    stream = await stage.stream()
    await stage.claim(stream)
    for _ in range(2):
        await stage.sidecar.next_held()
    await stage.undo()
    assert await stage.delivered() == "by stock"
    assert await stage.answer(stream) == ("valid", None)


async def test_silent_sidecar_times_out_and_is_asked_again(open_stage: OpenStage) -> None:
    options = {"dialback_sidecar_timeout": 0.5, "dialback_sidecar_check_timeout": 0.5}
    stage = await open_stage(options=options)
    stage.sidecar.held |= {"issue", "check"}
    await stage.write("lost")
    assert await stage.bounced() == "remote-server-timeout"
    stream = await stage.stream()
    await stage.claim(stream)
    assert await stage.answer(stream) == OUTAGE
    await stage.sidecar.release()
    await stage.claim(stream)
    assert await stage.answer(stream) == ("valid", None)
    await stage.write("through")
    assert await stage.delivered() == "through"


@pytest.mark.parametrize(
    "payload",
    [verdict("valid"), verdict("maybe"), Element("verdict"), key("b483"), Element("received")],
    ids=["wrong MAC", "odd type", "no type", "key", "no verdict"],
)
async def test_reply_that_cannot_be_trusted_is_an_outage(
    open_stage: OpenStage, payload: Element
) -> None:
    stage = await open_stage()
    stage.sidecar.held.add("check")
    stream = await stage.stream()
    await stage.claim(stream)
    request = await stage.sidecar.next_held()
    forged = "0" * 64 if payload.get("type") == "valid" else None
    await stage.sidecar.reply(request, payload, mac=forged)
    assert await stage.answer(stream) == OUTAGE


async def test_reply_to_another_request_is_an_outage(open_stage: OpenStage) -> None:
    stage = await open_stage()
    stage.sidecar.held.add("check")
    stream = await stage.stream()
    await stage.claim(stream)
    await stage.claim(stream, sender="b.peer.example")
    first, second = await stage.sidecar.next_held(), await stage.sidecar.next_held()
    second.mac = first.mac
    await stage.sidecar.reply(second, verdict("valid"))
    assert await stage.answer(stream, "b.peer.example") == OUTAGE
    await stage.sidecar.reply(first, verdict("valid"))
    assert await stage.answer(stream) == ("valid", None)


async def test_refused_request_is_an_outage_and_named_in_the_log(open_stage: OpenStage) -> None:
    stage = await open_stage()
    stage.sidecar.held.add("check")
    stream = await stage.stream()
    await stage.claim(stream)
    await stage.sidecar.refuse(await stage.sidecar.next_held())
    assert await stage.answer(stream) == OUTAGE
    await stage.prosody.output.wait_for(r"error\t.*refused a check request.*forbidden.*secret_file")


async def test_stranger_with_a_wrong_secret_disturbs_nothing_when_he_leaves(
    open_stage: OpenStage,
) -> None:
    stage = await open_stage()
    stage.sidecar.held.add("check")
    stream = await stage.stream()
    await stage.claim(stream)
    await stage.sidecar.next_held()
    place = (stage.prosody.address, stage.prosody.component_port)
    stranger = ScriptedSidecar(FIRST, "guessed", *place)
    mark = stage.prosody.output.mark()
    with pytest.raises(Exception, match="error"):
        await stranger.connect()
    await stage.prosody.output.wait_for("component disconnected", after=mark)
    assert await stage.settled(stream) == []
    stage.sidecar.held.clear()
    await stage.claim(stream, sender="b.peer.example")
    assert await stage.answer(stream, "b.peer.example") == ("valid", None)


async def test_requests_fail_over_to_the_next_sidecar_at_once(open_stage: OpenStage) -> None:
    stage = await open_stage(jids=(FIRST, SECOND))
    stage.sidecar.held |= {"issue", "check"}
    stream = await stage.stream()
    await stage.claim(stream)
    await stage.write("over the second")
    for _ in range(2):
        await stage.sidecar.next_held()
    await stage.sidecar.vanish()
    assert await stage.delivered() == "over the second"
    assert await stage.answer(stream) == ("valid", None)
    assert sorted(request.job for request in stage.second.asked("issue", "check")) == [
        "check",
        "issue",
    ]


async def test_silent_sidecar_is_passed_over_while_another_answers(open_stage: OpenStage) -> None:
    stage = await open_stage(jids=(FIRST, SECOND), options={"dialback_sidecar_timeout": 1})
    stage.sidecar.held.add("issue")
    await stage.write("one")
    assert await stage.delivered() == "one"
    await stage.start_over()
    await stage.write("two")
    assert await stage.delivered() == "two"
    assert len(stage.sidecar.asked("issue")) == 1
    assert len(stage.second.asked("issue")) == 2


async def test_host_deactivated_with_a_check_in_flight_and_its_reply_leaves_nowhere(
    open_stage: OpenStage,
) -> None:
    stage = await open_stage(hosts=[CAPULET, "verona.example"])
    stage.sidecar.held.add("check")
    stream = await stage.stream()
    await stage.claim(stream, target="verona.example")
    held = await stage.sidecar.next_held()
    await stage.prosody.shell('host:deactivate("verona.example")')
    assert await stage.answer(stream) == OUTAGE
    mark = stage.prosody.output.mark()
    await stage.sidecar.answer(held)
    await stage.prosody.output.wait_for("kept a stanza of the sidecar from leaving", after=mark)
    assert stage.prosody.output.find("opening a new outgoing connection", mark) == []
    await stage.claim(stream, target="verona.example")
    assert await stage.answer(stream) == ("error", "item-not-found")


async def test_host_activated_later_is_taken_over_too(open_stage: OpenStage) -> None:
    stage = await open_stage()
    await stage.prosody.configure(replace(stage.prosody.settings, hosts=[CAPULET, "late.example"]))
    await stage.prosody.shell('host:activate("late.example")')
    stream = await stage.stream()
    await stage.claim(stream, target="late.example")
    assert await stage.answer(stream) == ("valid", None)
    (check,) = stage.sidecar.asked("check")
    assert check["target"] == "late.example"


async def test_secret_that_the_configuration_changed_is_taken_up_when_it_is_read_again(
    open_stage: OpenStage,
) -> None:
    stage = await open_stage()
    await stage.write("with the old one")
    assert await stage.delivered() == "with the old one"
    settings = stage.prosody.settings
    changed = [replace(settings.components[0], secret="another one")]
    await stage.prosody.configure(replace(settings, components=changed))
    await stage.sidecar.vanish()
    await stage.start_over()
    place = (stage.prosody.address, stage.prosody.component_port)
    async with ScriptedSidecar(FIRST, "another one", *place) as sidecar:
        await stage.write("with the new one")
        assert await stage.delivered() == "with the new one"
        assert [request.job for request in sidecar.asked("issue")] == ["issue"]
        assert sidecar.strangers == []
