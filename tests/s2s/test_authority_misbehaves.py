"""Authoritative servers that answer elsewhere, want more than we show, or end streams rudely."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from checks import CHECK, VALID, check_of, publish
from scripted_authority import (
    BARE_HEADER,
    DIALBACK,
    HEADER,
    STARTTLS,
    Peer,
    Script,
    ScriptedAuthority,
    answer,
    attribute,
    features,
    stream_error,
)

from sidecar.config import CertificateConfig
from sidecar.config.link_domains import LinkDomains
from sidecar.jobs import Condition, Verdict
from sidecar.lab.certificates import Authority, Certificate
from sidecar.lab.dns import DnsServer
from sidecar.lab.script import Lame
from sidecar.s2s.checker import Checker
from sidecar.s2s.credentials import Credentials
from sidecar.s2s.resolver import Resolver

AUTHORITY = Authority()
EXTERNAL = (
    "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
    "<mechanism>EXTERNAL</mechanism></mechanisms>"
)
REQUIRED = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"


async def test_answer_on_another_stream_settles_nothing(checker, dns) -> None:
    """Two streams are asked at once; on each the server answers what was asked on the other."""
    asked: dict[str, Peer] = {}
    both = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        stream = attribute(await peer.verify(), "id")
        asked[stream] = peer
        if len(asked) == 2:
            both.set()
        await both.wait()
        (other,) = set(asked) - {stream}
        peer.send(answer("valid", stream=other))
        await peer.reader.read()

    async with ScriptedAuthority(script) as authority:
        publish(dns, authority)
        verdicts = await asyncio.gather(
            *(
                checker.check(check_of(stream=stream), timeout_seconds=1.0)
                for stream in ("one", "two")
            )
        )
    timeout = Verdict.error(Condition.REMOTE_SERVER_TIMEOUT, "answer-timeout")
    assert verdicts == [timeout, timeout]


# Inside TLS


def in_tls(*texts: str, starttls: str = STARTTLS) -> Script:
    """Says `texts` to the first header inside TLS, answers `valid` when asked, else hangs up."""

    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(starttls))
        await peer.start_tls()
        await peer.header()
        asked = DIALBACK in "".join(texts)
        peer.send(HEADER if asked else BARE_HEADER, *texts)
        if asked:
            await peer.verify()
            peer.send(answer("valid"))
            await peer.reader.read()

    return script


NOT_ACCEPTABLE, TIMEOUT = Condition.NOT_ACCEPTABLE, Condition.REMOTE_SERVER_TIMEOUT
IN_TLS = {
    "TLS required": (in_tls(features(DIALBACK), starttls=REQUIRED), VALID),
    "EXTERNAL beside dialback": (in_tls(features(EXTERNAL, DIALBACK)), VALID),
    "EXTERNAL alone": (
        in_tls(features(EXTERNAL)),
        Verdict.error(NOT_ACCEPTABLE, "dialback-not-offered"),
    ),
    "closed for want of a certificate": (
        in_tls("</stream:stream>"),
        Verdict.error(TIMEOUT, "stream-closed"),
    ),
    "hung up for want of a certificate": (in_tls(), Verdict.error(TIMEOUT, "stream-closed")),
    "not-authorized for want of a certificate": (
        in_tls(stream_error("not-authorized")),
        Verdict.error(TIMEOUT, "stream-error"),
    ),
}


@pytest.mark.parametrize("name", IN_TLS)
async def test_conversation_inside_tls_ends_in_the_right_verdict(name, checker, dns, tls) -> None:
    script, verdict = IN_TLS[name]
    async with ScriptedAuthority(script, context=tls) as authority:
        publish(dns, authority)
        assert await checker.check(CHECK, timeout_seconds=10) == verdict


async def test_server_that_requires_tls_is_never_asked_on_cleartext(checker, dns) -> None:
    said: list[str] = []

    async def script(peer: Peer) -> None:
        said.append(await peer.header())
        peer.send(HEADER, features(REQUIRED, DIALBACK))
        said.append((await peer.reader.read(1000)).decode())
        peer.send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>")
        said.append((await peer.reader.read()).decode())

    async with ScriptedAuthority(script) as authority:
        publish(dns, authority)
        verdict = await checker.check(CHECK, timeout_seconds=10)
    assert verdict == Verdict.error(TIMEOUT, "tls-failed")
    assert "db:verify" not in "".join(said)


# What breaks RFC 6120 is answered with its stream error

VIOLATIONS = {
    "<!DOCTYPE a>": "not-well-formed",  # not at the start: no XML at all
    "<!-- a -->": "restricted-xml",
    "<?a b?>": "restricted-xml",
    "<a>&b;</a>": "restricted-xml",
    "<a></b>": "not-well-formed",
    "key": "bad-format",
    "<a>" * 100: "policy-violation",
}


@pytest.mark.parametrize("sent", VIOLATIONS, ids=lambda sent: sent[:12])
async def test_violation_ends_the_stream_with_its_error(sent: str, checker, dns) -> None:
    rest: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        await peer.verify()
        peer.send(sent)
        rest.set_result(await peer.reader.read())

    async with ScriptedAuthority(script) as authority:
        publish(dns, authority)
        verdict = await checker.check(CHECK, timeout_seconds=10)
        assert verdict == Verdict.error(TIMEOUT, "stream-violation")
        said = (await asyncio.wait_for(rest, 10)).decode()
    assert f"<{VIOLATIONS[sent]} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>" in said
    assert said.endswith("</stream:stream>")


# DNS and TCP, once and again


async def test_lame_dns_server_is_no_domain_without_a_service(checker, dns) -> None:
    """What knows nothing of the zone says nothing about it: an error, and nobody is dialled."""
    dns.script("capulet.example", Lame())
    verdict = await checker.check(CHECK, timeout_seconds=10)
    assert verdict.outcome.value == "error"
    assert verdict.reason in ("dns-no-address", "dns-servfail")


async def test_address_that_failed_is_left_alone_for_a_moment_and_no_other(resolver, dns) -> None:
    seconds = [0.0]
    checker = Checker(resolver, allow_private_addresses=True, clock=lambda: seconds[0])

    async def honest(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        await peer.verify()
        peer.send(answer("valid"))
        await peer.reader.read()

    async with ScriptedAuthority(honest) as first, ScriptedAuthority(honest) as second:
        publish(dns, first)
        await first.stop_listening()
        assert (await checker.check(CHECK)).reason == "connect-refused"
        await first.listen()
        assert (await checker.check(CHECK)).reason == "connect-refused"
        assert first.connections == 0
        dns.add_srv("capulet.example", "b.example", second.port, priority=1)
        dns.add_address("b.example", second.address)
        assert await checker.check(CHECK) == VALID
        seconds[0] += 3.0
        dns.remove("b.example")
        assert await checker.check(CHECK) == VALID
        assert (first.connections, second.connections) == (1, 1)


@pytest.mark.parametrize("target", ["localhost", "127.0.0.1", "0x7f000001", "[::1]"])
async def test_name_of_this_machine_is_no_way_in(target: str, resolver, dns) -> None:
    async def inside(peer: Peer) -> None:
        await peer.reader.read()

    async with ScriptedAuthority(inside) as authority:
        dns.add_srv("capulet.example", target, authority.port)
        verdict = await Checker(resolver).check(CHECK, timeout_seconds=10)
        assert verdict.outcome.value == "error"
        assert authority.connections == 0


# Our own certificate, renewed


async def test_renewed_certificate_is_shown_to_the_next_server(
    dns: DnsServer, resolver: Resolver, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    """Over real TLS: the file changes while the checker runs, the next connection shows it."""
    shown: list[object] = []

    def write(certificate: Certificate) -> CertificateConfig:
        chain, key = certificate.write(tmp_path, "ours")
        domains = LinkDomains(["montague.example"])
        return CertificateConfig(domains=domains, certificate=chain, key=key)

    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(STARTTLS))
        await peer.start_tls()
        shown.append(peer.writer.get_extra_info("ssl_object").getpeercert()["serialNumber"])
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        await peer.verify()
        peer.send(answer("valid"))
        await peer.reader.read()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*AUTHORITY.issue("capulet.example").write(tmp_path, "theirs"))
    context.load_verify_locations(cadata=AUTHORITY.pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    config = write(AUTHORITY.issue("montague.example"))
    checker = Checker(resolver, credentials=Credentials([config]), allow_private_addresses=True)
    async with ScriptedAuthority(script, context=context) as authority:
        publish(dns, authority)
        assert await checker.check(CHECK) == VALID
        assert await checker.check(CHECK) == VALID
        write(AUTHORITY.issue("montague.example"))
        assert await checker.check(CHECK) == VALID
    before, same, after = shown
    assert before == same != after
