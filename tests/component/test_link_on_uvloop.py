"""The link on uvloop, whose transports pause, buffer and fail in their own way."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

import uvloop
from running_link import QUICK, running, until
from scripted_server import CHECK, Answers, ScriptedServer, link_config, reply_is_signed, request

from sidecar.component import Link, Phase
from sidecar.component.faults import FaultKind


async def _answers_then_reconnects() -> None:
    async with (
        ScriptedServer() as server,
        running(Link(link_config(server.port), Answers(), timing=QUICK)) as link,
    ):
        first = await server.accept()
        await first.open()
        asked = request(CHECK)
        await first.write_bytewise(asked)
        assert reply_is_signed(await first.next(), asked)
        first.close()
        second = await server.accept()
        await second.open()
        await second.fence()
        stopping = asyncio.ensure_future(link.stop())
        await asyncio.wait_for(second.ended.wait(), 10)
        second.write("</stream:stream>")
        await stopping
        await until(link, lambda state: state.phase is Phase.STOPPED)


async def _leaves_server_that_does_not_read() -> None:
    timing = replace(QUICK, unread_seconds=0.05)
    async with (
        ScriptedServer() as server,
        running(Link(link_config(server.port), Answers(), timing=timing)) as link,
    ):
        connection = await server.accept()
        await connection.open()
        connection.stop_reading()
        flood = "".join(request(CHECK, id=f"{n}-{'x' * 200}") for n in range(200))
        while link.state.last_fault is None:
            with suppress(RuntimeError):  # uvloop's way to say that the connection is gone
                connection.write(flood)
            await asyncio.sleep(0.001)
        assert link.state.last_fault.kind is FaultKind.NOT_READING


async def _keeps_server_that_answers_pings() -> None:
    """Within the same millisecond too, which is as fine as uvloop's own clock is."""
    timing = replace(QUICK, quiet_seconds=0.001, ping_answer_seconds=5)
    async with (
        ScriptedServer() as server,
        running(Link(link_config(server.port), Answers(), timing=timing)) as link,
    ):
        connection = await server.accept()
        await connection.open()
        for _ in range(200):
            ping = await connection.next()
            connection.write(f"<iq type='result' id='{ping.get('id')}' from='capulet.example'/>")
        assert link.state.last_fault is None


async def _tells_refused_connection() -> None:
    async with ScriptedServer() as server:
        port = server.port
    async with running(Link(link_config(port), Answers(), timing=QUICK)) as link:
        state = await until(link, lambda state: state.last_fault is not None)
    assert state.last_fault is not None
    assert state.last_fault.kind is FaultKind.REFUSED


def _on_uvloop(scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(scenario, 30))


def test_on_uvloop_link_answers_reconnects_and_stops() -> None:
    _on_uvloop(_answers_then_reconnects())


def test_on_uvloop_server_that_does_not_read_is_left() -> None:
    _on_uvloop(_leaves_server_that_does_not_read())


def test_on_uvloop_server_that_answers_pings_is_kept() -> None:
    _on_uvloop(_keeps_server_that_answers_pings())


def test_on_uvloop_refused_connection_is_told() -> None:
    _on_uvloop(_tells_refused_connection())
