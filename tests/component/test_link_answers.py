"""What a link answers to its own server, and what it leaves unanswered."""

from __future__ import annotations

import asyncio
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
from running_link import QUICK, running, until
from scripted_server import (
    CHECK,
    ISSUE,
    JID,
    KEY_TEXT,
    NS,
    REPORT,
    VERIFY,
    Answers,
    Connection,
    ScriptedServer,
    link_config,
    reply_is_signed,
    request,
)

from sidecar.component import Limits, Link, Phase
from sidecar.jobs import Check, Condition, Evidence, Issue, Job, Report, Verdict, Verify
from sidecar.names import DialbackKey


def _say(job: Job) -> DialbackKey | Verdict:
    match job:
        case Issue():
            return DialbackKey.parse(KEY_TEXT)
        case Check():
            return Verdict.valid(Evidence.KEY)
    return Verdict.invalid("not-issued")


@pytest.fixture
def answers() -> Answers:
    return Answers(_say)


async def test_issue_is_answered_with_the_key(connection: Connection) -> None:
    asked = request(ISSUE, kind="set")
    reply = await connection.ask(asked)
    assert (reply.get("type"), reply.get("from"), reply.get("to")) == (
        "result",
        JID,
        "capulet.example",
    )
    assert reply.get("id") == fromstring(asked).get("id")
    assert (reply[0].tag, reply[0].text) == (f"{{{NS}}}key", KEY_TEXT)
    assert reply_is_signed(reply, asked)


async def test_verify_is_answered_with_the_verdict(
    connection: Connection, answers: Answers
) -> None:
    asked = request(VERIFY)
    reply = await connection.ask(asked)
    assert reply[0].get("type") == "invalid"
    assert reply[0].get("reason") == "not-issued"
    assert reply_is_signed(reply, asked)
    (job,) = answers.asked
    assert isinstance(job, Verify) and job.key == DialbackKey.parse(KEY_TEXT)


async def test_check_is_answered_with_verdict_and_evidence(connection: Connection) -> None:
    asked = request(CHECK)
    reply = await connection.ask(asked)
    assert (reply[0].get("type"), reply[0].get("evidence")) == ("valid", "key")
    assert reply_is_signed(reply, asked)


async def test_report_is_acknowledged(connection: Connection, answers: Answers) -> None:
    asked = request(REPORT, kind="set")
    reply = await connection.ask(asked)
    assert reply[0].tag == f"{{{NS}}}received"
    assert reply_is_signed(reply, asked)
    assert isinstance(answers.asked[0], Report)


async def test_reply_to_one_request_is_no_reply_to_another(connection: Connection) -> None:
    asked, other = request(VERIFY), request(VERIFY)
    assert not reply_is_signed(await connection.ask(asked), other)


async def test_stanza_split_into_single_bytes_is_answered(connection: Connection) -> None:
    asked = request(CHECK)
    await connection.write_bytewise(asked)
    assert reply_is_signed(await connection.next(), asked)


async def test_many_requests_in_one_segment_are_all_answered(connection: Connection) -> None:
    asked = {f"id-{n}": request(VERIFY, id=f"id-{n}") for n in range(50)}
    connection.write("".join(asked.values()))
    replies = [await connection.next() for _ in asked]
    assert {str(reply.get("id")) for reply in replies} == set(asked)
    assert all(reply_is_signed(reply, asked[str(reply.get("id"))]) for reply in replies)


async def test_slow_answers_do_not_hold_up_others(connection: Connection, answers: Answers) -> None:
    release = answers.hold()
    connection.write(request(CHECK, id="slow"))
    while not answers.asked:
        await asyncio.sleep(0.001)
    answers.held = None
    assert (await connection.ask(request(VERIFY, id="fast"))).get("id") == "fast"
    release.set()
    assert (await connection.next()).get("id") == "slow"


@pytest.mark.parametrize(
    ("payload", "kind", "seconds"),
    [
        (ISSUE, "set", 3.0),
        (VERIFY, "get", 3.0),
        (CHECK, "get", 12.0),
        (VERIFY.replace(" stream", " remaining='1500' stream"), "get", 1.5),
        (VERIFY.replace(" stream", " remaining='900000' stream"), "get", 3.0),
    ],
)
async def test_time_given_is_the_default_or_what_the_server_has(
    connection: Connection, answers: Answers, payload: str, kind: str, seconds: float
) -> None:
    await connection.ask(request(payload, kind=kind))
    assert answers.timeouts == [seconds]


async def test_request_that_has_no_time_left_is_dropped(
    connection: Connection, link: Link, answers: Answers
) -> None:
    connection.write(request(VERIFY.replace(" stream", " remaining='0' stream")))
    await connection.fence()
    assert len(answers.asked) == 1
    assert link.state.counts["expired"] == 1


@pytest.mark.parametrize(
    "stanza",
    [
        "<message from='capulet.example' to='{jid}'><body>hello</body></message>",
        "<presence from='capulet.example' to='{jid}'/>",
        "<presence from='capulet.example' to='{jid}' type='subscribe'/>",
        "<presence from='capulet.example' to='{jid}' type='probe'/>",
        "<iq type='result' id='1' from='capulet.example' to='{jid}'/>",
        "<iq type='error' id='1' from='capulet.example' to='{jid}'><error/></iq>",
        "<iq type='nonsense' id='1' from='capulet.example' to='{jid}'/>",
        "<iq type='get' from='capulet.example' to='{jid}'/>",
        "<iq type='get' id='1' to='{jid}'/>",
        "<unheard xmlns='of'/>",
        "<!-- a comment -->",
        "   \n",
    ],
)
async def test_what_is_no_request_is_dropped_without_an_answer(
    connection: Connection, answers: Answers, stanza: str
) -> None:
    connection.write(stanza.format(jid=JID))
    await connection.fence()
    assert len(answers.asked) == 1


@pytest.mark.parametrize(
    ("asked", "condition"),
    [
        (request(VERIFY, from_="mallory@capulet.example"), "forbidden"),
        (request(VERIFY, from_="other.component.example"), "forbidden"),
        (request(VERIFY, secret=b"guessed"), "forbidden"),
        (request(VERIFY).replace("D60000229F", "D60000229E"), "forbidden"),
        (request(VERIFY, kind="set"), "bad-request"),
        (
            f"<iq type='get' id='1' from='mallory@evil.example/x' to='{JID}'>"
            "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
            "forbidden",
        ),
    ],
)
async def test_what_is_not_accepted_gets_an_error_and_reaches_nobody(
    connection: Connection, answers: Answers, link: Link, asked: str, condition: str
) -> None:
    reply = await connection.ask(asked)
    assert reply.get("type") == "error"
    assert reply.get("to") == fromstring(asked).get("from")
    assert reply[0][0].tag.endswith(condition)
    assert not answers.asked
    assert link.state.counts["refused"] == 1


async def test_strangers_are_told_nothing(connection: Connection) -> None:
    reply = await connection.ask(request(VERIFY, secret=b"guessed"))
    assert "".join(reply.itertext()) == ""
    assert len(reply[0]) == 1


async def test_malformed_request_names_the_field_and_never_the_key(
    connection: Connection,
) -> None:
    reply = await connection.ask(request(VERIFY.replace("D60000229F", "with space")))
    text = "".join(reply.itertext())
    assert text.startswith("stream: expected")
    assert KEY_TEXT not in text


async def test_above_the_limit_of_checks_a_check_is_refused_and_verify_is_answered(
    server: ScriptedServer, answers: Answers
) -> None:
    link = Link(link_config(server.port), answers, timing=QUICK, limits=Limits(checks=2))
    async with running(link):
        connection = await server.accept()
        await connection.open()
        release = answers.hold()
        connection.write(request(CHECK, id="a") + request(CHECK, id="b"))
        asked = request(CHECK, id="c")
        reply = await connection.ask(asked)
        assert reply.get("id") == "c"
        assert reply[0].get("condition") == "resource-constraint"
        assert reply_is_signed(reply, asked)
        answers.held = None
        await connection.fence()
        release.set()
        assert {(await connection.next()).get("id") for _ in "ab"} == {"a", "b"}


async def test_answerer_that_fails_is_an_error_verdict(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(job: Job) -> Verdict:
        raise RuntimeError("a fault of ours")

    async with running(Link(link_config(server.port), Answers(fail), timing=QUICK)):
        connection = await server.accept()
        await connection.open()
        asked = request(VERIFY)
        reply = await connection.ask(asked)
    assert reply[0].get("condition") == Condition.INTERNAL_SERVER_ERROR.value
    assert reply_is_signed(reply, asked)
    assert "verify failed" in caplog.text


async def test_answerer_that_hangs_is_given_up(server: ScriptedServer, answers: Answers) -> None:
    limits = Limits(quick_seconds=0.05, overtime_seconds=0.05)
    async with running(
        Link(link_config(server.port), answers, timing=QUICK, limits=limits)
    ) as link:
        connection = await server.accept()
        await connection.open()
        answers.hold()
        reply = await connection.ask(request(VERIFY))
        assert reply[0].get("condition") == "internal-server-error"
        assert (await until(link, lambda state: state.in_work == 0)).phase is Phase.CONNECTED


async def test_stop_answers_what_is_in_flight_and_closes_the_stream(
    connection: Connection, link: Link, answers: Answers
) -> None:
    release = answers.hold()
    connection.write(request(VERIFY, id="before"))
    await until(link, lambda state: state.in_work == 1)
    stopping = asyncio.ensure_future(link.stop(grace_seconds=10))
    await asyncio.sleep(0)
    answers.held = None
    connection.write(request(CHECK))
    await connection.fence()  # quick work is still done, a check left to another sidecar
    release.set()
    assert (await connection.next()).get("id") == "before"
    await asyncio.wait_for(connection.ended.wait(), 10)
    connection.write("</stream:stream>")
    await stopping
    assert (await until(link, lambda state: state.phase is Phase.STOPPED)).in_work == 0


async def test_stop_does_not_wait_longer_than_the_grace_period(
    connection: Connection, link: Link, answers: Answers
) -> None:
    answers.hold()
    connection.write(request(VERIFY))
    await until(link, lambda state: state.in_work == 1)
    async with asyncio.timeout(10):
        await link.stop(grace_seconds=0.01)
    await until(link, lambda state: state.phase is Phase.STOPPED)


async def test_link_that_is_down_stops_at_once(answers: Answers, tmp_path: Path) -> None:
    async with ScriptedServer() as server:
        port = server.port
    link = Link(link_config(port), answers)
    task = asyncio.ensure_future(link.run())
    await until(link, lambda state: state.phase is Phase.WAITING)
    async with asyncio.timeout(10):
        await link.stop()
        await task
    assert link.state.phase is Phase.STOPPED


async def test_other_domains_are_taken_up_on_the_same_connection(
    server: ScriptedServer, link: Link, connection: Connection
) -> None:
    foreign = ISSUE.replace("capulet.example", "verona.example")
    asked = request(foreign, kind="set", from_="verona.example")
    assert (await connection.ask(asked)).get("type") == "error"
    config = link_config(server.port, domains=("verona.example",))
    link.take_up(config, Limits())
    asked = request(foreign, kind="set", from_="verona.example")
    assert (await connection.ask(asked)).get("type") == "result"
    assert (await connection.ask(request(ISSUE, kind="set"))).get("type") == "error"
    assert link.state.counts["connects"] == 1
