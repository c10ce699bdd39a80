"""The link against Debian's Prosody and ejabberd.

The module's part is played by a second component, named like a local domain: what it sends comes
from exactly that domain, and passes through the server as a module's requests do.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from running_link import QUICK, running, until
from scripted_server import (
    CHECK,
    ISSUE,
    JID,
    KEY_TEXT,
    REPORT,
    SECRET,
    VERIFY,
    Answers,
    Connection,
    link_config,
    reply_is_signed,
    request,
)

from sidecar.component import Link, Phase
from sidecar.component.faults import FaultKind
from sidecar.jobs import Issue, Job, Verdict
from sidecar.lab.ejabberd_config import EjabberdSettings, ServiceListener
from sidecar.lab.network import Network
from sidecar.lab.prosody import Prosody
from sidecar.lab.prosody_config import ExternalComponent, ProsodySettings
from sidecar.names import DialbackKey

pytestmark = pytest.mark.interop

MODULES = Path(__file__).parents[2] / "contrib" / "prosody"
COMPONENT = ExternalComponent(JID, SECRET.decode())
HOST, STRANGER = "capulet.example", "other.example"
SETTINGS = ProsodySettings(
    ["verona.example"],
    {"mallory@verona.example": "a"},
    components=[
        COMPONENT,
        ExternalComponent(HOST, "host"),
        ExternalComponent(STRANGER, "stranger"),
    ],
)


@asynccontextmanager
async def _component(server: Prosody, jid: str, secret: str) -> AsyncIterator[Connection]:
    """A raw component that says what the test says."""
    reader, writer = await asyncio.open_connection(server.address, server.component_port)
    raw = Connection(reader, writer)
    raw.write(
        "<stream:stream xmlns='jabber:component:accept'"
        f" xmlns:stream='http://etherx.jabber.org/streams' to='{jid}'>"
    )
    stream_id = (await raw.header).get("id", "")
    raw.write(f"<handshake>{hashlib.sha1((stream_id + secret).encode()).hexdigest()}</handshake>")
    assert (await raw.next()).tag.endswith("handshake")
    try:
        yield raw
    finally:
        raw.close()
        await raw.stopped()


def _say(job: Job) -> DialbackKey | Verdict:
    return DialbackKey.parse(KEY_TEXT) if isinstance(job, Issue) else Verdict.valid()


def _link(server: Prosody, answers: Answers, **config: object) -> Link:
    settings = link_config(server.component_port, host=server.address, **config)  # type: ignore[arg-type]
    return Link(settings, answers, timing=QUICK)


async def _connected(link: Link, times: int = 1) -> None:
    await until(
        link, lambda state: state.phase is Phase.CONNECTED and state.counts["connects"] >= times
    )


async def test_requests_through_prosody_are_answered_and_strangers_refused(
    network: Network,
) -> None:
    server = await network.prosody(SETTINGS)
    answers = Answers(_say)
    async with (
        running(_link(server, answers)) as link,
        _component(server, HOST, "host") as module,
        _component(server, STRANGER, "stranger") as stranger,
    ):
        await _connected(link)
        for payload, kind in ((ISSUE, "set"), (VERIFY, "get"), (CHECK, "get"), (REPORT, "set")):
            asked = request(payload, kind=kind)
            assert reply_is_signed(await module.ask(asked), asked)
        assert len(answers.asked) == 4
        for secret in (SECRET, b"guessed"):
            reply = await stranger.ask(request(VERIFY, from_=STRANGER, secret=secret))
            assert reply[0][0].tag.endswith("forbidden")
        assert len(answers.asked) == 4


async def test_user_of_the_server_is_refused(network: Network) -> None:
    server = await network.prosody(SETTINGS)
    answers = Answers(_say)
    async with running(_link(server, answers, domains=("*",))) as link:
        await _connected(link)
        mallory = await network.client(server, "mallory@verona.example")
        mallory.send_raw(request(VERIFY).replace(" from='capulet.example'", ""))
        await until(link, lambda state: state.counts.get("refused") == 1)
    assert not answers.asked


async def test_wrong_secret_unknown_component_and_conflict_are_told_apart(
    network: Network,
) -> None:
    server = await network.prosody(SETTINGS)
    async with running(_link(server, Answers())) as first:
        await _connected(first)
        for link, kind in (
            (_link(server, Answers(), secret=b"wrong"), FaultKind.SECRET),
            (_link(server, Answers(), jid="dialback.nowhere.example"), FaultKind.HOST_UNKNOWN),
            (_link(server, Answers()), FaultKind.CONFLICT),
        ):
            async with running(link):
                state = await until(link, lambda state: state.last_fault is not None)
            assert state.last_fault is not None
            assert state.last_fault.kind is kind
        assert first.state.counts["connects"] == 1


async def test_on_the_port_for_clients_the_port_is_told_to_be_looked_at(network: Network) -> None:
    server = await network.prosody(SETTINGS)
    config = link_config(server.c2s_port, host=server.address)
    async with running(Link(config, Answers(), timing=QUICK)) as link:
        state = await until(link, lambda state: state.last_fault is not None)
    assert state.last_fault is not None
    assert "correct jid or port" in str(state.last_fault)


async def test_prosody_restarted_is_served_again(network: Network) -> None:
    server = await network.prosody(SETTINGS)
    answers = Answers(_say)
    async with running(_link(server, answers)) as link:
        await _connected(link)
        await server.restart()
        await _connected(link, times=2)
        async with _component(server, HOST, "host") as module:
            asked = request(VERIFY)
            assert reply_is_signed(await module.ask(asked), asked)


async def test_stopped_prosody_is_noticed_and_served_again_when_it_goes_on(
    network: Network,
) -> None:
    server = await network.prosody(SETTINGS)
    timing = replace(QUICK, quiet_seconds=0.1, ping_answer_seconds=1.0)
    config = link_config(
        server.component_port, host=server.address, domains=("verona.example", HOST)
    )
    async with running(Link(config, Answers(), timing=timing)) as link:
        await until(link, lambda state: state.counts.get("pong", 0) >= 2)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            state = await until(link, lambda state: state.last_fault is not None)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert state.last_fault is not None
        assert state.last_fault.kind is FaultKind.SILENT
        await _connected(link, times=2)


async def test_pings_pass_the_isolation_of_the_prosody_module(network: Network) -> None:
    component = replace(COMPONENT, modules=["dialback_sidecar"])
    server = await network.prosody(
        ProsodySettings([HOST], components=[component], plugin_paths=[MODULES])
    )
    assert "dialback_sidecar" in await server.shell(f'module:list("{JID}")')
    await _is_pinged(server.address, server.component_port, HOST)


async def test_ejabberd_answers_pings_and_tells_a_wrong_secret(network: Network) -> None:
    server = await network.ejabberd(
        EjabberdSettings([HOST], components=[ServiceListener(JID, SECRET.decode(), [HOST])])
    )
    port = server.component_ports[JID]
    await _is_pinged(server.address, port, HOST)
    config = link_config(port, host=server.address, secret=b"wrong")
    async with running(Link(config, Answers(), timing=QUICK)) as link:
        state = await until(link, lambda state: state.last_fault is not None)
    assert state.last_fault is not None
    assert state.last_fault.kind is FaultKind.SECRET


async def _is_pinged(address: str, port: int, domain: str) -> None:
    timing = replace(QUICK, quiet_seconds=0.05, ping_answer_seconds=5)
    config = link_config(port, host=address, domains=(domain,))
    async with running(Link(config, Answers(), timing=timing)) as link:
        state = await until(link, lambda state: state.counts.get("pong", 0) >= 2)
    assert state.last_fault is None
