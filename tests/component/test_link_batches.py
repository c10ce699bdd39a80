"""Several requests in one: answered together, each by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from xml.etree.ElementTree import Element

import pytest
from running_link import QUICK, running, until
from scripted_server import (
    CHECK,
    ISSUE,
    KEY_TEXT,
    NS,
    VERIFY,
    Answers,
    Connection,
    ScriptedServer,
    link_config,
    reply_is_signed,
    request,
)

from sidecar.component import Limits, Link, Phase
from sidecar.jobs import Condition, Issue, Job, Verdict
from sidecar.names import DialbackKey

OTHERS = VERIFY.replace("sender='capulet.example'", "sender='verona.example'")
LEFT_OUT = ISSUE.replace("<issue", "<issue certificate='on-demand'")
WRONG = VERIFY.replace("stream='D60000229F'", "stream='two words'")


def _say(job: Job) -> DialbackKey | Verdict:
    if isinstance(job, Issue) and job.certificate_on_demand:
        return Verdict.error(Condition.NOT_AUTHORIZED, "certificate-wanted")
    return DialbackKey.parse(KEY_TEXT) if isinstance(job, Issue) else Verdict.valid()


@pytest.fixture
def answers() -> Answers:
    return Answers(_say)


def _batch(*requests: str, remaining: str = "3000", **iq: str) -> str:
    payload = f"<batch remaining='{remaining}'>{''.join(requests)}</batch>"
    return request(payload, kind="set", **iq)


@asynccontextmanager
async def _limited(answers: Answers, limits: Limits) -> AsyncIterator[tuple[Link, Connection]]:
    """A link with these limits, that is up."""
    async with ScriptedServer() as server:
        async with running(
            Link(link_config(server.port), answers, limits=limits, timing=QUICK)
        ) as link:
            connection = await server.accept()
            await connection.open()
            await until(link, lambda state: state.phase is Phase.CONNECTED)
            yield link, connection


def _said(reply: Element) -> list[str]:
    return [
        each.tag.removeprefix(f"{{{NS}}}") + " " + (each.get("condition") or each.get("type") or "")
        for each in reply[0]
    ]


async def test_each_request_of_a_batch_is_answered_in_its_place(connection: Connection) -> None:
    asked = _batch(VERIFY, ISSUE, VERIFY)
    reply = await connection.ask(asked)
    assert reply[0].tag == f"{{{NS}}}answers"
    assert _said(reply) == ["verdict valid", "key ", "verdict valid"]
    assert reply[0][1].text == KEY_TEXT
    assert reply_is_signed(reply, asked)


async def test_one_that_wants_a_certificate_is_told_so_beside_the_keys_of_the_others(
    connection: Connection,
) -> None:
    reply = await connection.ask(_batch(ISSUE, LEFT_OUT, VERIFY))
    assert _said(reply) == ["key ", "verdict not-authorized", "verdict valid"]
    assert reply[0][1].get("reason") == "certificate-wanted"


async def test_reply_to_one_batch_is_no_reply_to_another(connection: Connection) -> None:
    asked, other = _batch(VERIFY, ISSUE), _batch(VERIFY, ISSUE)
    assert not reply_is_signed(await connection.ask(asked), other)


@pytest.mark.parametrize(
    ("wrong", "condition"),
    [(OTHERS, "forbidden"), (WRONG, "bad-request"), (CHECK, "bad-request")],
)
async def test_one_that_is_refused_harms_no_other(
    connection: Connection, answers: Answers, link: Link, wrong: str, condition: str
) -> None:
    reply = await connection.ask(_batch(VERIFY, wrong, ISSUE))
    assert _said(reply) == ["verdict valid", f"refused {condition}", "key "]
    assert len(answers.asked) == 2
    assert link.state.counts["refused"] == 1


async def test_changed_batch_is_answered_to_nobody(
    connection: Connection, answers: Answers
) -> None:
    asked = _batch(VERIFY, ISSUE).replace("target='montague.example'", "target='evil.example'", 1)
    reply = await connection.ask(asked)
    assert (reply.get("type"), answers.asked) == ("error", [])


async def test_batch_that_has_no_time_left_is_dropped(
    connection: Connection, answers: Answers, link: Link
) -> None:
    connection.write(_batch(VERIFY, ISSUE, remaining="0"))
    await connection.fence()
    assert len(answers.asked) == 1
    assert link.state.counts["expired"] == 2


async def test_time_of_the_batch_is_that_of_each(connection: Connection, answers: Answers) -> None:
    await connection.ask(_batch(VERIFY, ISSUE, remaining="1500"))
    assert answers.timeouts == [1.5, 1.5]


async def test_requests_above_the_limit_are_told_so_in_their_places(answers: Answers) -> None:
    async with _limited(answers, Limits(quick=2)) as (link, connection):
        reply = await connection.ask(_batch(VERIFY, ISSUE, VERIFY, WRONG))
        assert _said(reply) == [
            "verdict valid",
            "key ",
            "verdict resource-constraint",
            "refused bad-request",
        ]
        assert link.state.counts["overload"] == 1


async def test_batches_take_the_room_of_single_requests(answers: Answers) -> None:
    async with _limited(answers, Limits(quick=2)) as (link, connection):
        release = answers.hold()
        connection.write(_batch(VERIFY, ISSUE, id="first"))
        assert (await connection.ask(request(VERIFY, id="no")))[0].get("type") == "error"
        assert link.state.in_work == 2
        release.set()
        assert (await connection.next()).get("id") == "first"
        assert link.state.in_work == 0


async def test_connection_lost_ends_the_work_of_its_batches(answers: Answers) -> None:
    async with _limited(answers, Limits()) as (link, connection):
        answers.hold()
        connection.write(_batch(VERIFY, ISSUE))
        await until(link, lambda state: state.in_work == 2)
        connection.writer.close()
        await until(link, lambda state: state.in_work == 0)


async def test_one_answer_too_late_is_our_error_and_the_others_are_answered() -> None:
    class OneLate(Answers):
        async def answer(self, job: Job, *, timeout_seconds: float) -> DialbackKey | Verdict | None:
            if isinstance(job, Issue):
                await asyncio.Event().wait()
            return await super().answer(job, timeout_seconds=timeout_seconds)

    limits = Limits(quick_seconds=0.05, overtime_seconds=0.05)
    async with _limited(OneLate(_say), limits) as (_, connection):
        reply = await connection.ask(_batch(VERIFY, ISSUE))
        assert _said(reply) == ["verdict valid", "verdict internal-server-error"]
