"""The checker against real sockets, real TLS and real DNS answers."""

from __future__ import annotations

import asyncio
import logging
import ssl

import pytest
from checks import CHECK, FAILED, INVALID, KEY, NOT_FOUND, TIMEOUT, VALID, check_of, error, publish
from scripted_authority import (
    BARE_HEADER,
    DIALBACK,
    HEADER,
    LEGACY_HEADER,
    PROCEED,
    STARTTLS,
    Peer,
    Script,
    ScriptedAuthority,
    answer,
    dialback_error,
    features,
    stream_error,
)
from server_scripts import (
    asked_first,
    at_once,
    close_when_asked,
    dripping,
    honest,
    reset_at_once,
    reset_when_asked,
    silent,
    starttls_then_honest,
)

from sidecar.jobs import Condition, Outcome, Verdict
from sidecar.lab.dns import DnsServer
from sidecar.names import Domain
from sidecar.s2s.checker import Checker
from sidecar.s2s.gate import GateLimits
from sidecar.s2s.resolver import Resolver

# What a server on cleartext says, and the verdict on the key.

CONVERSATIONS: dict[str, tuple[Script, Verdict]] = {
    "knows the key": (honest, VALID),
    "byte by byte": (dripping, VALID),
    "invalid": (asked_first(answer("invalid")), INVALID),
    "legacy without version": (
        asked_first(answer("valid"), header=LEGACY_HEADER, offers=""),
        VALID,
    ),
    "legacy says invalid": (
        asked_first(answer("invalid"), header=LEGACY_HEADER, offers=""),
        INVALID,
    ),
    "features without dialback": (
        asked_first(answer("valid"), header=BARE_HEADER, offers=features()),
        error(Condition.NOT_ACCEPTABLE, "dialback-not-offered"),
    ),
    "dialback declared in the header only": (
        asked_first(answer("valid"), offers=features()),
        VALID,
    ),
    "says it does not host the domain": (
        asked_first(answer("error", inner=dialback_error("item-not-found"))),
        error(NOT_FOUND, "answer-item-not-found"),
    ),
    "another dialback error": (
        asked_first(answer("error", inner=dialback_error("internal-server-error"))),
        error(NOT_FOUND, "answer-error"),
    ),
    "error without a condition": (asked_first(answer("error")), error(NOT_FOUND, "answer-error")),
    "host-unknown instead of features": (
        at_once(HEADER, stream_error("host-unknown")),
        error(NOT_FOUND, "host-unknown"),
    ),
    "host-gone when asked": (
        asked_first(stream_error("host-gone")),
        error(NOT_FOUND, "host-unknown"),
    ),
    "another stream error": (
        asked_first(stream_error("policy-violation")),
        error(TIMEOUT, "stream-error"),
    ),
    "unsolicited first, then the answer": (
        asked_first(
            answer("valid", stream="other"),
            answer("valid", sender="evil.example"),
            answer("invalid"),
        ),
        INVALID,
    ),
    "answers twice": (asked_first(answer("invalid"), answer("valid")), INVALID),
    "answers before it is asked": (
        at_once(HEADER, answer("valid")),
        error(TIMEOUT, "stream-violation"),
    ),
    "answers together with the features": (
        at_once(HEADER, features(DIALBACK), answer("valid")),
        # the request is outstanding as soon as the stream is open; it is the same stream
        VALID,
    ),
    "closes the stream when asked": (
        asked_first("</stream:stream>"),
        error(TIMEOUT, "answer-missing"),
    ),
    "closes the connection when asked": (close_when_asked, error(TIMEOUT, "answer-missing")),
    "resets the connection when asked": (reset_when_asked, error(TIMEOUT, "answer-missing")),
    "resets at once": (reset_at_once, error(TIMEOUT, "stream-closed")),
    "closes after the header": (at_once(HEADER, close=True), error(TIMEOUT, "stream-closed")),
    "garbage": (at_once("HTTP/1.1 400 Bad\r\n\r\n"), error(TIMEOUT, "stream-violation")),
    "garbage when asked": (asked_first("<<<"), error(TIMEOUT, "stream-violation")),
    "doctype": (at_once("<!DOCTYPE x>"), error(TIMEOUT, "stream-violation")),
    "oversized answer": (
        asked_first(answer("valid", inner="x" * 100_000)),
        error(TIMEOUT, "stream-violation"),
    ),
    "endless answers for others": (
        asked_first(*[answer("valid", stream="other")] * 5_000),
        error(TIMEOUT, "stream-violation"),
    ),
    "refuses the TLS it offered": (
        at_once(HEADER, features(STARTTLS), "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
        error(TIMEOUT, "tls-failed"),
    ),
    "no TLS after proceed": (
        at_once(HEADER, features(STARTTLS), PROCEED, close=True),
        error(TIMEOUT, "tls-failed"),
    ),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_conversation_ends_in_the_right_verdict(name, checker, dns):
    script, verdict = CONVERSATIONS[name]
    async with ScriptedAuthority(script) as authority:
        publish(dns, authority)
        assert await checker.check(CHECK, timeout_seconds=10) == verdict


# Answers that never come: the deadline decides, and says where it was.

STALLS: dict[str, tuple[Script, Verdict]] = {
    "never answers": (asked_first(), error(TIMEOUT, "answer-timeout")),
    "answers only for others": (
        asked_first(
            answer("valid", stream="d60000229f"),
            answer("valid", sender="montague.example", target="capulet.example"),
            answer("valid", target="verona.example"),
        ),
        error(TIMEOUT, "answer-timeout"),
    ),
    "never says anything": (silent, error(TIMEOUT, "stream-timeout")),
    "stops before the features": (at_once(HEADER), error(TIMEOUT, "stream-timeout")),
    "stops in the TLS handshake": (
        at_once(HEADER, features(STARTTLS), PROCEED),
        error(TIMEOUT, "stream-timeout"),
    ),
}


@pytest.mark.parametrize("name", STALLS)
async def test_stalled_server_is_an_error_at_the_deadline(name, checker, dns):
    script, verdict = STALLS[name]
    async with ScriptedAuthority(script) as authority:
        publish(dns, authority)
        assert await checker.check(CHECK, timeout_seconds=0.4) == verdict


# TLS


async def test_starttls_is_used_when_offered(checker, dns, tls):
    async with ScriptedAuthority(starttls_then_honest, context=tls) as authority:
        publish(dns, authority)
        assert await checker.check(CHECK, timeout_seconds=10) == VALID


async def test_direct_tls_names_the_sender_domain_and_its_protocol(checker, dns, tls):
    seen: list[tuple[str | None, str | None]] = []
    names: list[str | None] = []

    async def script(peer: Peer) -> None:
        session = peer.writer.get_extra_info("ssl_object")
        seen.append((session.selected_alpn_protocol(), session.version()))
        await honest(peer)

    tls.sni_callback = lambda _session, name, _context: names.append(name)
    try:
        async with ScriptedAuthority(script, context=tls, direct_tls=True) as authority:
            publish(dns, authority, service="_xmpps-server")
            assert await checker.check(CHECK, timeout_seconds=10) == VALID
    finally:
        tls.sni_callback = None
    assert seen == [("xmpp-server", "TLSv1.3")]
    assert names == ["capulet.example"]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_tls_is_refused(checker, dns):
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with ScriptedAuthority(starttls_then_honest, context=old) as authority:
        publish(dns, authority)
        verdict = await checker.check(CHECK, timeout_seconds=10)
    assert verdict == error(TIMEOUT, "tls-failed")


async def test_clear_text_injected_before_tls_proves_nothing(checker, dns, tls):
    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(STARTTLS, DIALBACK))
        await peer.until("xmpp-tls'/>")
        peer.send(PROCEED, answer("valid"))
        await peer.reader.read()

    async with ScriptedAuthority(script, context=tls) as authority:
        publish(dns, authority)
        verdict = await checker.check(CHECK, timeout_seconds=10)
    assert verdict == error(TIMEOUT, "stream-violation")


async def test_no_way_back_to_clear_text_once_tls_was_offered(checker, dns):
    """The first target offers TLS and fails, the second would say valid on cleartext."""
    broken = at_once(HEADER, features(STARTTLS), PROCEED, close=True)
    async with ScriptedAuthority(broken) as first, ScriptedAuthority(honest) as second:
        publish(dns, first, second)
        verdict = await checker.check(CHECK, timeout_seconds=10)
        assert (first.connections, second.connections) == (1, 1)
    assert verdict == error(TIMEOUT, "tls-missing")


async def test_no_way_back_to_clear_text_after_direct_tls_failed(checker, dns):
    async with ScriptedAuthority(silent) as first, ScriptedAuthority(honest) as second:
        publish(dns, first, service="_xmpps-server")
        publish(dns, second, first_priority=1)
        verdict = await checker.check(CHECK, timeout_seconds=10)
    assert verdict == error(TIMEOUT, "tls-missing")


async def test_answer_cut_off_by_the_end_of_tls_is_missing(checker, dns, tls):
    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        await peer.verify()

    async with ScriptedAuthority(script, context=tls, direct_tls=True) as authority:
        publish(dns, authority, service="_xmpps-server")
        verdict = await checker.check(CHECK, timeout_seconds=10)
    assert verdict == error(TIMEOUT, "answer-missing")


# Policy


async def test_address_that_is_not_public_is_not_dialled(resolver, dns):
    async with ScriptedAuthority(honest) as authority:
        publish(dns, authority)
        verdict = await Checker(resolver).check(CHECK, timeout_seconds=10)
        assert authority.connections == 0
    assert verdict == error(FAILED, "address-refused")


async def test_srv_target_that_is_an_address_is_not_taken(checker, dns):
    async with ScriptedAuthority(honest) as authority:
        dns.add_srv("capulet.example", authority.address, authority.port)
        verdict = await checker.check(CHECK, timeout_seconds=10)
        assert authority.connections == 0
    assert verdict == error(NOT_FOUND, "dns-no-service")


@pytest.mark.parametrize("sender", ["localhost", "127.0.0.1", "127.1", "a.0x7f", "192.0.2.7"])
async def test_sender_that_is_no_public_name_is_refused(sender, checker, dns):
    verdict = await checker.check(check_of(sender), timeout_seconds=10)
    assert verdict == error(Condition.NOT_ACCEPTABLE, "sender-refused")
    assert dns.queries == []


async def test_checks_above_the_limit_are_refused_and_those_below_go_on(resolver, dns):
    limits = GateLimits(in_all=2, waiting=0)
    checker = Checker(resolver, allow_private_addresses=True, gate=limits)
    ready, go = asyncio.Semaphore(0), asyncio.Event()

    async def script(peer: Peer) -> None:
        ready.release()
        await go.wait()
        await honest(peer)

    async with ScriptedAuthority(script) as authority:
        publish(dns, authority)
        running = [asyncio.create_task(checker.check(CHECK)) for _ in range(2)]
        await ready.acquire()
        await ready.acquire()
        assert await checker.check(CHECK) == error(Condition.RESOURCE_CONSTRAINT, "too-many-checks")
        go.set()
        assert await asyncio.gather(*running) == [VALID, VALID]
        assert await checker.check(CHECK) == VALID


# Many at once, other loops, and what is left behind


def test_checks_on_uvloop(tls):
    uvloop = pytest.importorskip("uvloop")

    async def run() -> list[Verdict]:
        async with (
            DnsServer() as dns,
            ScriptedAuthority(reset_at_once) as dead,
            ScriptedAuthority(starttls_then_honest, context=tls) as authority,
        ):
            publish(dns, dead, authority)
            checker = Checker(Resolver([dns.nameserver]), allow_private_addresses=True)
            checks = [check_of(), check_of(key="0" * 64), check_of("nowhere.example")]
            verdicts = await asyncio.gather(*(checker.check(check) for check in checks))
            await checker.close()
            return verdicts

    assert uvloop.run(run()) == [VALID, INVALID, error(NOT_FOUND, "dns-no-address")]


async def test_checks_at_once_do_not_mix_their_answers(checker, dns):
    keys = [KEY, "0" * 64] * 10
    async with ScriptedAuthority(honest) as authority:
        publish(dns, authority)
        verdicts = await asyncio.gather(
            *(checker.check(check_of(key=key), timeout_seconds=10) for key in keys)
        )
    assert verdicts == [VALID, INVALID] * 10


async def test_connection_is_closed_after_the_answer(checker, dns):
    """XEP-0220 §2.1.2: a connection for verification only should be closed at once."""
    rest: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        await peer.verify()
        peer.send(answer("valid"))
        rest.set_result(await peer.reader.read())

    async with ScriptedAuthority(script) as authority:
        publish(dns, authority)
        assert await checker.check(CHECK, timeout_seconds=10) == VALID
        assert await asyncio.wait_for(rest, 10) == b"</stream:stream>"


async def test_check_that_is_cancelled_closes_its_connection(checker, dns):
    asked = asyncio.Event()
    rest: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        await peer.verify()
        asked.set()
        rest.set_result(await peer.reader.read())

    async with ScriptedAuthority(script) as authority:
        publish(dns, authority)
        task = asyncio.create_task(checker.check(CHECK, timeout_seconds=10))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.wait_for(rest, 10) == b"</stream:stream>"


@pytest.mark.parametrize("script", [honest, asked_first(answer("error", inner=KEY), "<<")])
async def test_key_is_in_no_log_line_and_no_detail(script, checker, dns, caplog):
    caplog.set_level(logging.DEBUG)
    async with ScriptedAuthority(script) as authority:
        publish(dns, authority)
        verdict = await checker.check(CHECK, timeout_seconds=10)
    assert KEY not in caplog.text
    assert KEY not in repr(verdict)


async def test_fault_of_ours_is_an_error_and_never_invalid(dns, caplog):
    class Broken(Resolver):
        async def targets(self, domain: Domain) -> None:  # type: ignore[override]
            raise RuntimeError("boom")

    checker = Checker(Broken([dns.nameserver]))
    verdict = await checker.check(CHECK, timeout_seconds=10)
    assert verdict == error(Condition.INTERNAL_SERVER_ERROR, "check-failed")
    assert verdict.outcome is Outcome.ERROR
    assert "boom" in caplog.text
    await checker.close()
