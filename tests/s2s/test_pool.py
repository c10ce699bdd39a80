"""Streams that are asked more than once: for whom, for how long, and what that never changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from checks import INVALID, KEY, VALID, check_of
from scripted_authority import (
    DIALBACK,
    HEADER,
    STARTTLS,
    Peer,
    Script,
    ScriptedAuthority,
    answer,
    attribute,
    features,
    server_context,
)

from sidecar.jobs import Outcome
from sidecar.lab.certificates import Authority, self_signed
from sidecar.lab.dns import DnsServer
from sidecar.s2s.checker import Checker
from sidecar.s2s.evidence import Certificates
from sidecar.s2s.resolver import Resolver

AUTHORITY = Authority()
RIGHT, WRONG = KEY, "00000000"
NO_ERRORS = DIALBACK.replace("<errors/>", "")


async def answer_all(peer: Peer, said: Callable[[str], str]) -> None:
    while True:
        request = await peer.verify()
        peer.send(
            answer(
                said(request),
                sender=attribute(request, "to"),
                target=attribute(request, "from"),
                stream=attribute(request, "id"),
            )
        )


def right_key(request: str) -> str:
    return "valid" if f">{RIGHT}<" in request else "invalid"


def server(said: Callable[[str], str] = right_key, *, offers: str = DIALBACK, tls: bool = False):
    async def script(peer: Peer) -> None:
        await peer.header()
        if tls:
            peer.send(HEADER, features(STARTTLS))
            await peer.start_tls()
            await peer.header()
        peer.send(HEADER, features(offers))
        await answer_all(peer, said)

    return script


def publish(dns: DnsServer, authority: ScriptedAuthority, *domains: str) -> None:
    for domain in domains:
        dns.add_srv(domain, f"xmpp.{domain}", authority.port)
        dns.add_address(f"xmpp.{domain}", authority.address)


@pytest.fixture
async def checker(resolver: Resolver, tmp_path: Path):
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(AUTHORITY.pem)
    checker = Checker(
        resolver,
        certificates=Certificates(trusted),
        allow_private_addresses=True,
        idle_seconds=30.0,
    )
    yield checker
    await checker.close()


async def test_one_stream_carries_the_questions_about_one_domain(checker, dns) -> None:
    async with ScriptedAuthority(server(offers=NO_ERRORS)) as authority:
        publish(dns, authority, "capulet.example")
        for number in range(20):
            key, verdict = (RIGHT, VALID) if number % 2 else (WRONG, INVALID)
            assert await checker.check(check_of(stream=f"id{number}", key=key)) == verdict
        assert authority.connections == 1


async def test_verdict_is_never_taken_from_an_earlier_answer(checker, dns) -> None:
    replies = iter(["valid", "invalid", "valid"])
    async with ScriptedAuthority(server(lambda _: next(replies))) as authority:
        publish(dns, authority, "capulet.example")
        assert [await checker.check(check_of()) for _ in range(3)] == [VALID, INVALID, VALID]
        assert authority.connections == 1


async def test_same_question_at_the_same_time_goes_over_a_stream_of_its_own(checker, dns) -> None:
    """One answer could else be taken for the other's: the keys differ."""
    both = asyncio.Event()
    asked: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        while True:
            request = await peer.verify()
            if "first" not in request:
                asked.append(request)
                if len(asked) == 2:
                    both.set()
                await both.wait()
            said = right_key(request)
            peer.send(answer(said, stream=attribute(request, "id")))

    async with ScriptedAuthority(script) as authority:
        publish(dns, authority, "capulet.example")
        assert await checker.check(check_of(stream="first")) == VALID
        verdicts = await asyncio.gather(*(checker.check(check_of(key=k)) for k in (RIGHT, WRONG)))
        assert verdicts == [VALID, INVALID]
        assert authority.connections == 2


async def test_each_local_domain_has_streams_of_its_own(checker, dns) -> None:
    async with ScriptedAuthority(server()) as authority:
        publish(dns, authority, "capulet.example")
        for target in ("montague.example", "verona.example"):
            assert await checker.check(check_of(target=target)) == VALID
        assert authority.connections == 2


# Other domains of the same server

ROOMS = "rooms.capulet.example"
BOTH = AUTHORITY.issue("capulet.example", ROOMS)

SHARING = {
    "certificate for both": (server(tls=True), BOTH, 1),
    "certificate for the first alone": (
        server(tls=True),
        AUTHORITY.issue("capulet.example"),
        2,
    ),
    "self-signed for both": (server(tls=True), self_signed("capulet.example", ROOMS), 2),
    "without dialback errors": (server(tls=True, offers=NO_ERRORS), BOTH, 2),
    "cleartext": (server(), BOTH, 2),
}


@pytest.mark.parametrize("name", SHARING)
async def test_stream_is_shared_where_the_server_is_proven_for_both(
    name, checker, dns, tmp_path
) -> None:
    """Behind one address and port there may be servers of different owners."""
    script, certificate, connections = SHARING[name]
    context = server_context(certificate, tmp_path)
    async with ScriptedAuthority(script, context=context) as authority:
        publish(dns, authority, "capulet.example", ROOMS)
        assert await checker.check(check_of()) == VALID
        assert await checker.check(check_of(ROOMS)) == VALID
        assert authority.connections == connections


async def test_stream_is_shared_only_where_dns_names_the_same_place(checker, dns, tmp_path) -> None:
    context = server_context(BOTH, tmp_path)
    async with (
        ScriptedAuthority(server(lambda _: "valid", tls=True), context=context) as first,
        ScriptedAuthority(server(lambda _: "invalid", tls=True), context=context) as second,
    ):
        publish(dns, first, "capulet.example")
        publish(dns, second, ROOMS)
        assert await checker.check(check_of()) == VALID
        assert await checker.check(check_of(ROOMS)) == INVALID


@pytest.mark.parametrize("said", ["invalid", "error"])
async def test_no_on_a_shared_stream_is_asked_again_on_a_new_one(
    said, checker, dns, tmp_path
) -> None:
    """Another machine behind the same address may be the one that knows."""
    answers = iter(["valid", said, "valid"])
    context = server_context(BOTH, tmp_path)
    script = server(lambda _: next(answers), tls=True)
    async with ScriptedAuthority(script, context=context) as authority:
        publish(dns, authority, "capulet.example", ROOMS)
        assert await checker.check(check_of()) == VALID
        assert await checker.check(check_of(ROOMS)) == VALID
        assert authority.connections == 2


# Its end


def after_one(*, then: str) -> Script:
    """Answers one question; when asked again does what `then` says, on new streams answers."""
    seen: list[Peer] = []

    async def script(peer: Peer) -> None:
        seen.append(peer)
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        if len(seen) > 1:
            await answer_all(peer, right_key)
        request = await peer.verify()
        peer.send(answer("valid", stream=attribute(request, "id")))
        if then == "close":
            return
        await peer.verify()
        if then == "close when asked":
            return
        if then == "reset":
            peer.reset()
        if then == "garbage":
            peer.send("<<<")
        await peer.reader.read()

    return script


@pytest.mark.parametrize("then", ["close", "close when asked", "reset", "garbage", "silence"])
async def test_stream_that_ends_under_a_later_question_is_replaced(
    then, checker, dns, monkeypatch
) -> None:
    monkeypatch.setattr("sidecar.s2s.search._LENT_SECONDS", 0.2)
    async with ScriptedAuthority(after_one(then=then)) as authority:
        publish(dns, authority, "capulet.example")
        assert await checker.check(check_of(stream="one")) == VALID
        assert await checker.check(check_of(stream="two", key=WRONG)) == INVALID
        assert authority.connections == 2


async def test_quiet_stream_is_closed_after_a_while(resolver, dns) -> None:
    rest: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        await peer.verify()
        peer.send(answer("valid"))
        rest.set_result(await peer.reader.read())

    checker = Checker(resolver, allow_private_addresses=True, idle_seconds=0.05)
    async with ScriptedAuthority(script) as authority:
        publish(dns, authority, "capulet.example")
        assert await checker.check(check_of()) == VALID
        assert await asyncio.wait_for(rest, 10) == b"</stream:stream>"
    assert not checker._dialling.pool._kept


async def test_stream_is_given_up_after_so_many_questions(checker, dns) -> None:
    """All answers of one stream count together against its bytes."""
    async with ScriptedAuthority(server()) as authority:
        publish(dns, authority, "capulet.example")
        for number in range(150):
            assert await checker.check(check_of(stream=f"id{number}")) == VALID
        assert authority.connections == 2


async def test_closing_the_checker_closes_its_streams(checker, dns) -> None:
    ended = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        await peer.verify()
        peer.send(answer("valid"))
        await peer.reader.read()
        ended.set()

    async with ScriptedAuthority(script) as authority:
        publish(dns, authority, "capulet.example")
        assert (await checker.check(check_of())).outcome is Outcome.VALID
        await checker.close()
        await asyncio.wait_for(ended.wait(), 10)
