"""Every way into dialback, and what comes unasked: legacy, SASL, bidirectional, repeated."""

from __future__ import annotations

import asyncio

import pytest
from prosody_stage import CAPULET, PEER, SERVER_MESSAGE, OpenStage, Stage
from raw_stream import DIALBACK, TLS, RawStream, condition

pytest_plugins = ["prosody_fixtures"]
pytestmark = pytest.mark.interop

_FEATURES = "<stream:features>{}<dialback xmlns='urn:xmpp:features:dialback'/></stream:features>"
_STARTTLS = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
_BIDI = "<bidi xmlns='urn:xmpp:features:bidi'/>"
_EXTERNAL = (
    "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
    "<mechanism>EXTERNAL</mechanism></mechanisms>"
)
_AUTH = "{urn:ietf:params:xml:ns:xmpp-sasl}auth"


class Incoming:
    """The streams the server opens to the peer, handed to the test after their header."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._streams: asyncio.Queue[RawStream] = asyncio.Queue()
        self._finished = asyncio.Event()
        stage.peer._serve = self._hand_over

    async def _hand_over(self, stream: RawStream) -> None:
        await stream.wait_header()
        self._streams.put_nowait(stream)
        await self._finished.wait()

    async def next(self) -> RawStream:
        async with asyncio.timeout(15):
            return await self._streams.get()

    async def encrypted(self, features: str) -> RawStream:
        """The next stream, inside TLS, with `features` sent."""
        stream = await self.next()
        await self._greet(stream, _STARTTLS)
        await stream.receive(TLS + "starttls")
        await stream.start_tls(
            self._stage.server_context(),
            first="<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        )
        await stream.wait_header()
        await self._greet(stream, features)
        return stream

    async def _greet(self, stream: RawStream, features: str) -> None:
        await stream.send_header(from_=PEER, to=CAPULET, id="D60000229F", version="1.0")
        await stream.send(_FEATURES.format(features))


async def _accept(stream: RawStream) -> None:
    """Take the key that is presented on `stream`."""
    await stream.receive(DIALBACK + "result")
    await stream.answer_result(sender=CAPULET, target=PEER, type="valid")


async def _delivered(stream: RawStream) -> str | None:
    message = await stream.receive(SERVER_MESSAGE)
    return message.findtext("{jabber:server}body")


async def test_legacy_peer_without_version_and_addresses_is_checked(
    open_stage: OpenStage,
) -> None:
    stage = await open_stage()
    stream = await RawStream.connect(stage.prosody.address, stage.prosody.s2s_port)
    await stream.send_header()
    await stream.wait_header()
    await stream.db_result(sender=PEER, target=CAPULET, key="b483")
    assert await stage.answer(stream) == ("valid", None)
    (check,) = stage.sidecar.asked("check")
    assert check["stream"] == stream.header["id"]
    await stream.send(f"<message from='a@{PEER}' to='juliet@{CAPULET}'><body>hi</body></message>")
    assert await stage.heard() == "hi"
    stream.abort()


async def test_legacy_server_is_sent_our_key(open_stage: OpenStage) -> None:
    stage = await open_stage()
    incoming = Incoming(stage)
    await stage.write("legacy")
    stream = await incoming.next()
    await stream.send_header(from_=PEER, id="legacy-1")
    await _accept(stream)
    assert await _delivered(stream) == "legacy"
    (issue,) = stage.sidecar.asked("issue")
    assert (issue["stream"], issue["encrypted"]) == ("legacy-1", "false")


async def test_key_is_sent_after_sasl_external_failed(open_stage: OpenStage) -> None:
    stage = await open_stage()
    incoming = Incoming(stage)
    await stage.write("after SASL")
    stream = await incoming.encrypted(_EXTERNAL)
    await stream.receive(_AUTH)
    await stream.answer_result(sender=CAPULET, target=PEER, type="valid")  # nobody asked yet
    await stream.send(
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>"
    )
    await stream.receive(DIALBACK + "result")
    assert [e for e in stream.everything if e.tag == SERVER_MESSAGE] == []
    await stream.answer_result(sender=CAPULET, target=PEER, type="valid")
    assert await _delivered(stream) == "after SASL"
    (issue,) = stage.sidecar.asked("issue")
    assert (issue["encrypted"], issue["external"]) == ("true", "refused")


async def test_repeated_features_get_no_second_key(open_stage: OpenStage) -> None:
    stage = await open_stage()
    stage.sidecar.held.add("issue")
    incoming = Incoming(stage)
    await stage.write("once")
    stream = await incoming.encrypted("")
    await stream.send(_FEATURES.format("") * 3)
    await stage.sidecar.next_held()
    await stream.send(_FEATURES.format("") * 3)
    # An answered request shows that the features before it were read.
    await stream.db_result(sender="a.example", target=CAPULET, key="b483")
    await stream.receive(DIALBACK + "result", where=lambda e: e.get("type") == "error")
    (issue,) = stage.sidecar.asked("issue")
    assert issue["external"] == "not-offered"
    await stage.sidecar.answer(issue)
    await _accept(stream)
    assert await _delivered(stream) == "once"
    await stream.send(_FEATURES.format(""))
    await stream.db_result(sender="a.example", target=CAPULET, key="b483")
    await stream.receive(DIALBACK + "result", where=lambda e: e.get("type") == "error")
    assert len(stage.sidecar.asked("issue")) == 1


async def test_unusable_stream_id_bounces_at_once(open_stage: OpenStage) -> None:
    stage = await open_stage()
    incoming = Incoming(stage)
    await stage.write("lost")
    stream = await incoming.next()
    await stream.send_header(from_=PEER, id="two words")
    assert await stage.bounced() == "remote-server-timeout"
    assert stage.sidecar.asked("issue") == []


@pytest.mark.parametrize(
    ("type", "expected"),
    [("invalid", "internal-server-error"), ("error", "remote-server-timeout")],
)
async def test_refused_key_bounces_and_the_next_stanza_tries_again(
    open_stage: OpenStage, type: str, expected: str
) -> None:
    stage = await open_stage()
    stage.peer.on_result = stage.peer.ignore
    await stage.write("lost")
    stream, _ = await stage.peer.next_request("result")
    await stream.answer_result(sender=CAPULET, target=PEER, type=type)
    assert await stage.bounced() == expected
    stage.peer.behave()
    await stage.write("through")
    assert await stage.delivered() == "through"


async def test_result_settles_only_the_pair_of_its_own_stream_and_once(
    open_stage: OpenStage,
) -> None:
    stage = await open_stage()
    incoming = Incoming(stage)
    await stage.write("secret")
    stream = await incoming.encrypted("")
    await stream.receive(DIALBACK + "result")
    await stream.answer_result(sender=CAPULET, target="other.example", type="valid")
    await stream.answer_result(sender="other.example", target=PEER, type="valid")
    await stream.send("<db:result type='valid'/><db:verify type='valid'/>")
    await stream.answer_verify(sender=PEER, target=CAPULET, stream="D60", type="valid")
    await stream.db_result(sender="a.example", target=CAPULET, key="b483")
    refused = await stream.receive(DIALBACK + "result")
    assert condition(refused) == "not-acceptable"
    assert [e for e in stream.everything if e.tag == SERVER_MESSAGE] == []
    await stream.answer_result(sender=CAPULET, target=PEER, type="valid")
    assert await _delivered(stream) == "secret"
    await stream.answer_result(sender=CAPULET, target=PEER, type="invalid")
    await stage.write("still open")
    assert await _delivered(stream) == "still open"


async def test_bidirectional_stream_of_a_peer_takes_no_unasked_answers(
    open_stage: OpenStage,
) -> None:
    stage = await open_stage(modules=["s2s_bidi"])
    stage.sidecar.held.add("check")
    stream = await stage.stream()
    await stream.send("<bidi xmlns='urn:xmpp:bidi'/>")
    await stage.claim(stream)
    await stream.answer_result(sender=CAPULET, target=PEER, type="valid")
    await stream.answer_verify(
        sender=PEER, target=CAPULET, stream=stream.header["id"], type="valid"
    )
    await stream.send(f"<message from='a@{PEER}' to='juliet@{CAPULET}'><body>no</body></message>")
    assert await stage.settled(stream) == []
    await stage.sidecar.answer(await stage.sidecar.next_held())
    assert await stage.answer(stream) == ("valid", None)
    await stream.send(f"<message from='a@{PEER}' to='juliet@{CAPULET}'><body>yes</body></message>")
    assert await stage.heard() == "yes", "and nothing before it"
    await stage.write("back the same way")
    assert await _delivered(stream) == "back the same way"
    assert stage.sidecar.asked("issue") == []


async def test_bidirectional_stream_of_ours_answers_verify_and_takes_no_requests(
    open_stage: OpenStage,
) -> None:
    stage = await open_stage(modules=["s2s_bidi"])
    incoming = Incoming(stage)
    await stage.write("out")
    stream = await incoming.encrypted(_BIDI)
    presented = await stream.receive(DIALBACK + "result")
    await stream.db_verify(
        sender=CAPULET, target=PEER, stream="D60000229F", key=presented.text or ""
    )
    assert (await stream.receive(DIALBACK + "verify")).get("type") == "valid"
    await stream.answer_result(sender=CAPULET, target=PEER, type="valid")
    assert await _delivered(stream) == "out"
    await stream.db_result(sender="evil.example", target=CAPULET, key="b483")
    assert condition(await stream.receive(DIALBACK + "result")) == "not-acceptable"
    await stream.answer_result(sender="evil.example", target=CAPULET, type="valid")
    await stream.send(f"<message from='a@{PEER}' to='juliet@{CAPULET}'><body>in</body></message>")
    assert await stage.heard() == "in"


async def test_outcomes_are_reported_with_their_stream_and_its_end(open_stage: OpenStage) -> None:
    stage = await open_stage()
    stream = await stage.stream()
    await stage.claim(stream)
    await stage.answer(stream)
    await stage.write("out")
    assert await stage.delivered() == "out"
    stream_id = stream.header["id"]
    await _reported(stage, ("receiving", "dialback", PEER, CAPULET, stream_id, "valid"))
    (issue,) = stage.sidecar.asked("issue")
    await _reported(stage, ("initiating", "dialback", CAPULET, PEER, issue["stream"], "valid"))
    await stage.start_over()
    await _reported(stage, ("receiving", "dialback", PEER, CAPULET, stream_id, "closed"))
    await _reported(stage, ("initiating", "dialback", CAPULET, PEER, issue["stream"], "closed"))


async def _reported(stage: Stage, outcome: tuple[str, ...]) -> None:
    names = ("role", "mechanism", "sender", "target", "stream", "type")
    async with asyncio.timeout(15):
        while True:
            for report in stage.sidecar.asked("report"):
                if outcome in [tuple(e.attrib[n] for n in names) for e in report.payload]:
                    return
            await asyncio.sleep(0.05)
