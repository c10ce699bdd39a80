"""What a rule about the peer asks of the server that answers for it: encryption, a pinned key."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from checks import VALID, check_of
from scripted_authority import (
    DIALBACK,
    HEADER,
    STARTTLS,
    Peer,
    Script,
    ScriptedAuthority,
    answer,
    features,
    server_context,
)

from sidecar.jobs import Check, Condition, Evidence, Verdict
from sidecar.lab.certificates import Certificate, renewed, self_signed
from sidecar.lab.dns import DnsServer
from sidecar.peer_policy import Terms
from sidecar.pkix.pins import pin_of
from sidecar.s2s.checker import Checker
from sidecar.s2s.resolver import Resolver

CHECK = check_of(encrypted=True)
PINNED, OTHER = self_signed("capulet.example"), self_signed("capulet.example")
MISMATCH = Verdict.error(Condition.NOT_AUTHORIZED, "policy-pin-mismatch")
CLEARTEXT = Verdict.error(Condition.REMOTE_SERVER_TIMEOUT, "tls-missing")
ENCRYPTED = Terms(require_encryption=True, rule="*")


def pins(*certificates: Certificate, **more: object) -> Terms:
    found = frozenset(pin for each in certificates if (pin := pin_of(each.der)))
    return Terms(pins=found, rule="*", **more)  # type: ignore[arg-type]


def says_valid(asked: list[str], *, tls: bool, direct_tls: bool = False) -> Script:
    """An Authoritative Server to which everything is valid; `asked` is what it was asked."""

    async def script(peer: Peer) -> None:
        if tls and not direct_tls:
            await peer.header()
            peer.send(HEADER, features(STARTTLS))
            await peer.start_tls()
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        while True:
            asked.append(await peer.verify())
            peer.send(answer("valid"))

    return script


def publish(
    dns: DnsServer, authority: ScriptedAuthority, *, priority: int = 0, direct_tls: bool = False
) -> None:
    name = f"xmpp{priority}.capulet.example"
    service = "_xmpps-server._tcp" if direct_tls else "_xmpp-server._tcp"
    dns.add_srv("capulet.example", name, authority.port, service=service, priority=priority)
    dns.add_address(name, authority.address)


@pytest.fixture
def ask(
    checker: Checker, dns: DnsServer, tmp_path: Path
) -> Callable[..., asyncio.Future[tuple[Verdict, int]]]:
    """The verdict when DNS names a server that shows `theirs`, and how often that was asked."""

    async def ask(
        terms: Terms, theirs: Certificate | None, *, check: Check = CHECK, direct_tls: bool = False
    ) -> tuple[Verdict, int]:
        asked: list[str] = []
        script = says_valid(asked, tls=theirs is not None, direct_tls=direct_tls)
        context = None if theirs is None else server_context(theirs, tmp_path)
        async with ScriptedAuthority(script, context=context, direct_tls=direct_tls) as authority:
            publish(dns, authority, direct_tls=direct_tls)
            return await checker.check(check, terms, timeout_seconds=10), len(asked)

    return ask  # type: ignore[return-value]


@pytest.mark.parametrize("direct_tls", [False, True])
async def test_server_with_the_pinned_key_is_asked_and_any_other_is_not(ask, direct_tls) -> None:
    assert await ask(pins(PINNED), PINNED, direct_tls=direct_tls) == (VALID, 1)
    assert await ask(pins(PINNED), OTHER, direct_tls=direct_tls) == (MISMATCH, 0)


async def test_one_of_several_pins_is_enough_and_a_renewed_certificate_has_it(ask) -> None:
    assert await ask(pins(OTHER, PINNED), PINNED) == (VALID, 1)
    assert await ask(pins(PINNED), renewed(PINNED, "capulet.example")) == (VALID, 1)


async def test_mismatch_says_which_key_was_shown_and_where_in_the_trace(ask) -> None:
    verdict, _ = await ask(pins(PINNED), OTHER)
    assert verdict.detail == f"its key is {pin_of(OTHER.der)}"
    assert [step.name for step in verdict.steps if step.reason == "policy-pin-mismatch"]


async def test_same_certificate_on_both_sides_has_to_be_the_pinned_one(ask) -> None:
    same = replace(CHECK, certificates=(OTHER.der,))
    assert (await ask(Terms(), OTHER, check=same))[0].evidence is Evidence.SAME_CERTIFICATE
    assert await ask(pins(PINNED), OTHER, check=same) == (MISMATCH, 0)
    same = replace(CHECK, certificates=(PINNED.der,))
    verdict, asked = await ask(pins(PINNED), PINNED, check=same)
    assert (verdict.evidence, asked) == (Evidence.SAME_CERTIFICATE, 0)


@pytest.mark.parametrize("terms", [ENCRYPTED, pins(PINNED)], ids=["encryption", "pin"])
async def test_key_is_not_asked_about_on_cleartext(ask, terms) -> None:
    assert await ask(Terms(), None) == (VALID, 1)
    assert await ask(terms, None) == (CLEARTEXT, 0)


async def test_mismatch_ends_the_check_though_another_server_would_do(
    checker: Checker, dns: DnsServer, tmp_path: Path
) -> None:
    asked: list[str] = []
    first = ScriptedAuthority(
        says_valid(asked, tls=True), context=server_context(OTHER, tmp_path / "first")
    )
    second = ScriptedAuthority(
        says_valid(asked, tls=True), context=server_context(PINNED, tmp_path / "second")
    )
    async with first, second:
        publish(dns, first, priority=0)
        publish(dns, second, priority=1)
        assert await checker.check(CHECK, pins(PINNED), timeout_seconds=10) == MISMATCH
        assert (asked, first.connections, second.connections) == ([], 1, 0)


async def test_server_that_speaks_out_of_turn_gets_no_key_before_its_own_was_looked_at(
    checker: Checker, dns: DnsServer, tmp_path: Path
) -> None:
    """Header, features and answer come with the end of the TLS handshake, before our header."""
    ended = asyncio.Event()
    heard: list[bytes] = []

    async def script(peer: Peer) -> None:
        try:
            await peer.header()
            peer.send(HEADER, features(STARTTLS))
            await peer.start_tls()
            peer.send(HEADER, features(DIALBACK), answer("valid"))
            heard.append(await peer.reader.read())
        finally:
            ended.set()

    context = server_context(OTHER, tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # there the server has the last word of it
    async with ScriptedAuthority(script, context=context) as authority:
        publish(dns, authority)
        assert await checker.check(CHECK, pins(PINNED), timeout_seconds=10) == MISMATCH
        await asyncio.wait_for(ended.wait(), 10)
    assert b"".join(heard) == b""


@pytest.mark.parametrize(
    ("first", "terms", "verdict"),
    [
        (OTHER, pins(PINNED), MISMATCH),
        (None, ENCRYPTED, CLEARTEXT),
        (None, pins(PINNED), CLEARTEXT),
        (PINNED, pins(PINNED), VALID),
        (OTHER, ENCRYPTED, VALID),
    ],
    ids=["another key", "cleartext", "cleartext, pin", "the pinned key", "encrypted"],
)
async def test_open_stream_is_used_only_if_it_meets_the_rule(
    resolver: Resolver,
    dns: DnsServer,
    tmp_path: Path,
    first: Certificate | None,
    terms: Terms,
    verdict: Verdict,
) -> None:
    """The stream was opened when there was no rule yet."""
    asked: list[str] = []
    context = None if first is None else server_context(first, tmp_path)
    script = says_valid(asked, tls=first is not None)
    checker = Checker(resolver, allow_private_addresses=True, idle_seconds=30.0)
    async with ScriptedAuthority(script, context=context) as authority:
        publish(dns, authority)
        assert await checker.check(CHECK, timeout_seconds=10) == VALID
        assert await checker.check(CHECK, terms, timeout_seconds=10) == verdict
        reused = verdict == VALID
        assert (len(asked), authority.connections) == ((2, 1) if reused else (1, 2))
    await checker.close()


async def test_certificate_our_server_demands_is_not_replaced_by_what_a_rule_accepts(ask) -> None:
    check = replace(CHECK, require="certificate")
    verdict, asked = await ask(Terms(frozenset({Evidence.KEY}), rule="*"), PINNED, check=check)
    assert verdict == Verdict.error(Condition.NOT_AUTHORIZED, "evidence-missing")
    assert asked == 0
