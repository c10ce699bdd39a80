"""Servers that refuse, fall silent, break off, or are no server at all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from running_link import QUICK, running, until
from scripted_server import (
    HEADER,
    ISSUE,
    JID,
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
from sidecar.component.faults import FaultKind
from sidecar.component.stream import MAX_STANZA_BYTES

COMPONENT_LOG = "sidecar.component.link"


async def _fault(link: Link) -> FaultKind:
    state = await until(link, lambda state: state.last_fault is not None)
    assert state.last_fault is not None
    return state.last_fault.kind


@pytest.mark.parametrize(
    ("condition", "kind", "words"),
    [
        (
            "not-authorized",
            FaultKind.SECRET,
            "link dialback.capulet.example: the server refused the component secret; "
            "compare component_secret in the server's configuration with secret_file",
        ),
        ("conflict", FaultKind.CONFLICT, "does a second sidecar run with the same jid?"),
        ("host-unknown", FaultKind.HOST_UNKNOWN, "the server knows no component"),
        ("invalid-namespace", FaultKind.NOT_A_COMPONENT_PORT, "compare host and port"),
        ("system-shutdown", FaultKind.CLOSED, "the server is shutting down"),
        ("policy-violation", FaultKind.STREAM_ERROR, "policy-violation"),
    ],
)
async def test_stream_errors_are_told_apart_in_words_and_retried(
    server: ScriptedServer,
    link: Link,
    caplog: pytest.LogCaptureFixture,
    condition: str,
    kind: FaultKind,
    words: str,
) -> None:
    for _ in range(3):
        await (await server.accept()).refuse(condition)
    assert await _fault(link) is kind
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.INFO]
    assert [words in line for line in lines] == [True], lines
    await (await server.accept()).open()
    await until(link, lambda state: state.phase is Phase.CONNECTED)


async def test_same_fault_after_a_connection_is_told_again(
    server: ScriptedServer, link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, COMPONENT_LOG)
    await (await server.accept()).refuse("conflict")
    connection = await server.accept()
    await connection.open()
    await until(link, lambda state: state.phase is Phase.CONNECTED)
    connection.close()
    await (await server.accept()).refuse("conflict")
    await (await server.accept()).open()
    await until(link, lambda state: state.counts["connects"] == 2)
    said = [record.getMessage().split(": ", 1)[1] for record in caplog.records]
    assert [line.split(";")[0].split(" 127")[0] for line in said] == [
        f"another component is connected to the server as {JID}",
        "connected to",
        "the server closed the stream",
        f"another component is connected to the server as {JID}",
        "connected to",
    ]


async def test_nothing_listening_is_told_and_retried(answers: Answers) -> None:
    async with ScriptedServer() as server:
        port = server.port
    async with running(Link(link_config(port), answers, timing=QUICK)) as link:
        assert await _fault(link) is FaultKind.REFUSED
        async with ScriptedServer(port) as server:
            await (await server.accept()).open()
            state = await until(link, lambda state: state.phase is Phase.CONNECTED)
    assert state.connected_since_seconds is not None


async def test_every_address_of_a_host_is_tried(server: ScriptedServer, answers: Answers) -> None:
    config = link_config(server.port, host="localhost")  # ::1 comes first, and refuses
    async with running(Link(config, answers, timing=QUICK)) as link:
        await (await server.accept()).open()
        await until(link, lambda state: state.phase is Phase.CONNECTED)


async def test_unresolvable_host_is_told(answers: Answers) -> None:
    config = link_config(5347, host="nowhere.invalid")
    async with running(Link(config, answers, timing=QUICK)) as link:
        assert await _fault(link) is FaultKind.NAME


async def test_host_that_takes_connections_and_says_nothing_is_given_up(
    server: ScriptedServer, answers: Answers
) -> None:
    timing = replace(QUICK, handshake_seconds=0.05)
    async with running(Link(link_config(server.port), answers, timing=timing)) as link:
        await server.accept()
        assert await _fault(link) is FaultKind.HANDSHAKE


@pytest.mark.parametrize(
    "said",
    [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "<html>",
        "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]>" + HEADER[21:],
        "<!-- <stream:stream> --><!DOCTYPE x [<!ENTITY a 'b'>]>" + HEADER[21:],
        "<?pi <stream ?><!DOCTYPE x [<!ENTITY a 'b'>]>" + HEADER[21:],
        " " * 10_000,
        "\0<\0?",
        HEADER.format(jid=JID, id="x") + "<iq></message>",
        HEADER.format(jid=JID, id="x") + "<iq>&undefined;</iq>",
        HEADER.format(jid=JID, id="x") + "<a>" * 20,
    ],
)
@pytest.mark.parametrize("bytewise", [False, True])
async def test_what_is_no_component_stream_is_left(
    server: ScriptedServer, link: Link, said: str, bytewise: bool
) -> None:
    connection = await server.accept()
    if bytewise and len(said) < 1000:
        try:
            await connection.write_bytewise(said)
        except ConnectionError:
            pass  # left before the end, which is right
    else:
        connection.write(said)
    assert await _fault(link) is FaultKind.NOT_A_COMPONENT_PORT


async def test_header_split_into_single_bytes_is_understood(
    server: ScriptedServer, link: Link
) -> None:
    connection = await server.accept()
    await connection.write_bytewise(HEADER.format(jid=JID, id="x"))
    assert (await connection.next()).text
    connection.write("<handshake/>")
    await until(link, lambda state: state.phase is Phase.CONNECTED)


async def test_endless_stanza_ends_the_connection(connection: Connection, link: Link) -> None:
    connection.write(f"<iq type='get' id='1' from='capulet.example' to='{JID}'><a>")
    connection.write("x" * (MAX_STANZA_BYTES + 1))
    assert await _fault(link) is FaultKind.NOT_A_COMPONENT_PORT


async def test_endless_stream_of_small_stanzas_does_not(connection: Connection, link: Link) -> None:
    stanza = "<message><body>" + "x" * 1000 + "</body></message>"
    connection.write(stanza * (3 * MAX_STANZA_BYTES // len(stanza)))
    await connection.fence()
    assert link.state.phase is Phase.CONNECTED


async def test_stranger_playing_the_server_gets_no_answer_out_of_us(
    connection: Connection, answers: Answers
) -> None:
    """It took our handshake for right whatever it was: it cannot know the secret."""
    for payload, kind in ((VERIFY, "get"), (ISSUE, "set")):
        for secret in (b"", b"guessed"):
            reply = await connection.ask(request(payload, kind=kind, secret=secret))
            assert reply.get("type") == "error"
    assert not answers.asked


async def test_nothing_is_answered_before_the_handshake(
    server: ScriptedServer, link: Link, answers: Answers
) -> None:
    connection = await server.accept()
    connection.write(HEADER.format(jid=JID, id="x") + request(VERIFY))
    assert (await connection.next()).tag.endswith("handshake")
    connection.write("<handshake/>")
    await until(link, lambda state: state.phase is Phase.CONNECTED)
    await connection.fence()
    assert len(answers.asked) == 1


async def _close(connection: Connection) -> None:
    connection.close()


async def _end_stream(connection: Connection) -> None:
    connection.write("</stream:stream>")


async def _abort(connection: Connection) -> None:
    connection.writer.transport.abort()


@pytest.mark.parametrize("leave", [_close, _end_stream, _abort])
async def test_server_that_goes_is_connected_to_again_and_answers(
    server: ScriptedServer,
    connection: Connection,
    link: Link,
    answers: Answers,
    leave: Callable[[Connection], Awaitable[None]],
) -> None:
    answers.hold()
    connection.write(request(VERIFY))
    await until(link, lambda state: state.in_work == 1)
    await leave(connection)
    again = await server.accept()
    await again.open()
    await until(link, lambda state: state.in_work == 0)
    answers.held = None
    asked = request(VERIFY)
    assert reply_is_signed(await again.ask(asked), asked)
    assert link.state.counts["connects"] == 2


async def test_report_under_way_outlives_its_connection(
    server: ScriptedServer, connection: Connection, link: Link, answers: Answers
) -> None:
    release = answers.hold()
    connection.write(request(REPORT, kind="set") + request(VERIFY))
    await until(link, lambda state: state.in_work == 2)
    connection.close()
    again = await server.accept()
    await again.open()
    await until(link, lambda state: state.counts["connects"] == 2 and state.in_work == 1)
    release.set()
    await until(link, lambda state: state.in_work == 0)
    await again.fence()


async def test_silent_server_is_left_when_a_ping_is_not_answered(
    server: ScriptedServer, answers: Answers
) -> None:
    timing = replace(QUICK, quiet_seconds=0.05, ping_answer_seconds=0.05)
    async with running(Link(link_config(server.port), answers, timing=timing)) as link:
        connection = await server.accept()
        await connection.open()
        await connection.fence()  # now the domain is known to be the server's own
        ping = await connection.next()
        assert (ping.get("type"), ping.get("to")) == ("get", "capulet.example")
        assert ping[0].tag == "{urn:xmpp:ping}ping"
        assert await _fault(link) is FaultKind.SILENT
        await (await server.accept()).open()
        await until(link, lambda state: state.counts["connects"] == 2)


@pytest.mark.parametrize("kind", ["result", "error"])
async def test_any_answer_to_a_ping_proves_life(
    server: ScriptedServer, answers: Answers, kind: str
) -> None:
    timing = replace(QUICK, quiet_seconds=0.02, ping_answer_seconds=5)
    async with running(Link(link_config(server.port), answers, timing=timing)) as link:
        connection = await server.accept()
        await connection.open()
        for _ in range(3):
            ping = await connection.next()
            connection.write(
                f"<iq type='{kind}' id='{ping.get('id')}' from='capulet.example' to='{JID}'/>"
            )
        assert link.state.last_fault is None


async def test_silence_about_a_domain_that_may_be_foreign_proves_nothing(
    server: ScriptedServer, answers: Answers
) -> None:
    timing = replace(QUICK, quiet_seconds=0.01, ping_answer_seconds=0.01)
    async with running(Link(link_config(server.port), answers, timing=timing)) as link:
        connection = await server.accept()
        await connection.open()
        for _ in range(3):
            await connection.next()
        assert link.state.phase is Phase.CONNECTED


async def test_on_a_wildcard_link_only_domains_that_asked_are_pinged(
    server: ScriptedServer, answers: Answers
) -> None:
    timing = replace(QUICK, quiet_seconds=0.01, ping_answer_seconds=5)
    config = link_config(server.port, domains=("*",))
    async with running(Link(config, answers, timing=timing)):
        connection = await server.accept()
        await connection.open()
        await asyncio.sleep(0.05)  # several quiet spans, in which nothing may come
        assert connection.stanzas.empty()
        await connection.fence()
        assert (await connection.next()).get("to") == "capulet.example"


async def test_server_that_does_not_read_is_left(server: ScriptedServer, answers: Answers) -> None:
    timing = replace(QUICK, unread_seconds=0.05)
    async with running(Link(link_config(server.port), answers, timing=timing)) as link:
        connection = await server.accept()
        await connection.open()
        connection.stop_reading()
        flood = "".join(request(VERIFY, id=f"{n}-{'x' * 200}") for n in range(500))

        async def write() -> None:
            while True:
                connection.write(flood)
                await connection.writer.drain()

        writing = asyncio.ensure_future(write())
        assert await _fault(link) is FaultKind.NOT_READING
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


async def test_work_in_flight_stays_bounded_whatever_the_server_sends(
    server: ScriptedServer, answers: Answers
) -> None:
    limits = Limits(quick=10)
    async with running(
        Link(link_config(server.port), answers, timing=QUICK, limits=limits)
    ) as link:
        connection = await server.accept()
        await connection.open()
        answers.hold()
        connection.write("".join(request(VERIFY) for _ in range(200)))
        for _ in range(190):
            assert (await connection.next())[0].get("condition") == "resource-constraint"
        assert link.state.in_work == 10
        assert link.state.counts["overload"] == 190


async def test_two_links_of_one_daemon_do_not_disturb_each_other(answers: Answers) -> None:
    other_answers = Answers()
    async with ScriptedServer() as one, ScriptedServer() as two:
        second = link_config(two.port, jid="dialback.verona.example", domains=("verona.example",))
        async with (
            running(Link(link_config(one.port), answers, timing=QUICK)),
            running(Link(second, other_answers, timing=QUICK)) as other,
        ):
            connection = await one.accept()
            await connection.open()
            await (await two.accept()).refuse("not-authorized")
            assert await _fault(other) is FaultKind.SECRET
            await connection.fence()
    assert not other_answers.asked
