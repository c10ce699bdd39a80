"""What convinces the checker: certificates on one side, on both, or the key."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from checks import check_of
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

from sidecar.jobs import Check, Condition, Evidence, Outcome, Verdict
from sidecar.lab.certificates import SERVER_AUTH, Authority, Certificate, self_signed
from sidecar.lab.dns import DnsServer
from sidecar.names import Domain
from sidecar.peer_policy import Terms
from sidecar.s2s.checker import Checker
from sidecar.s2s.evidence import Certificates
from sidecar.s2s.resolver import Resolver

AUTHORITY, STRANGER = Authority(), Authority("another authority")
ANY_EVIDENCE = Terms()
OURS = self_signed("capulet.example")
CHECK = check_of(encrypted=True)
PAIR = CHECK.pair


@pytest.fixture
def checker(resolver: Resolver, tmp_path: Path) -> Checker:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(AUTHORITY.pem)
    return Checker(resolver, certificates=Certificates(trusted), allow_private_addresses=True)


def shown(*certificates: Certificate | bytes, **more: object) -> Check:
    chain = tuple(c if isinstance(c, bytes) else c.der for c in certificates)
    return replace(CHECK, certificates=chain, **more)  # type: ignore[arg-type]


# A certificate on the inbound stream. DNS names nobody, so that nothing else can prove anything.

PROVEN = {
    "for servers and clients": shown(AUTHORITY.issue("capulet.example")),
    "for servers alone": shown(AUTHORITY.issue("capulet.example", purposes=[SERVER_AUTH])),
    "one name of several": shown(AUTHORITY.issue("verona.example", "capulet.example")),
    "wildcard": replace(
        shown(AUTHORITY.issue("*.capulet.example")),
        pair=PAIR._replace(sender=Domain.parse("rooms.capulet.example")),
    ),
    "leaf, in the word of the server": shown(STRANGER.issue("capulet.example"), chain="valid"),
}


@pytest.mark.parametrize("name", PROVEN)
@pytest.mark.parametrize("require", [None, "certificate"])
async def test_certificate_for_the_sender_domain_is_enough(name, require, checker, dns) -> None:
    """XEP-0344 §2.5: nobody is asked."""
    verdict = await checker.check(replace(PROVEN[name], require=require))
    assert verdict == Verdict.valid(Evidence.CERTIFICATE)
    assert "-ID " in verdict.detail
    assert dns.queries == []


NOT_PROVEN = {
    "none": (shown(), "certificate-none"),
    "garbage": (shown(b"certificate"), "certificate-unreadable"),
    "on cleartext": (
        shown(AUTHORITY.issue("capulet.example"), encrypted=False),
        "certificate-no-tls",
    ),
    "expired": (shown(AUTHORITY.issue("capulet.example", expired=True)), "certificate-expired"),
    "of another": (shown(AUTHORITY.issue("evil.example")), "certificate-wrong-name"),
    "wildcard of the parent": (shown(AUTHORITY.issue("*.example")), "certificate-wrong-name"),
    "self-signed": (shown(self_signed("capulet.example")), "certificate-self-signed"),
    "unknown authority": (
        shown(STRANGER.issue("capulet.example"), STRANGER.issue("capulet.example").chain_pem),
        "certificate-unreadable",
    ),
    "forged with the name of the authority": (
        shown(Authority().issue("capulet.example")),
        "certificate-refused",
    ),
    "intermediate missing": (
        shown(STRANGER.issue("capulet.example")),
        "certificate-intermediate-missing",
    ),
    "the server says self-signed": (
        shown(STRANGER.issue("capulet.example"), chain="self-signed certificate"),
        "certificate-intermediate-missing",
    ),
}


@pytest.mark.parametrize("name", NOT_PROVEN)
async def test_what_a_certificate_lacks_is_told_where_one_is_required(name, checker, dns) -> None:
    check, reason = NOT_PROVEN[name]
    verdict = await checker.check(replace(check, require="certificate"))
    assert verdict == Verdict.error(Condition.NOT_AUTHORIZED, reason)
    assert dns.queries == []


@pytest.mark.parametrize("name", NOT_PROVEN)
async def test_certificate_that_proves_nothing_leaves_it_to_the_authoritative_server(
    name, checker
) -> None:
    check, _ = NOT_PROVEN[name]
    verdict = await checker.check(check)
    assert verdict.reason == "dns-no-address"


def test_certificate_is_judged_by_the_time_of_the_check(tmp_path: Path) -> None:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(AUTHORITY.pem)
    later = Certificates(trusted, now=lambda: datetime(2100, 1, 1, tzinfo=UTC))
    found = later.inbound(PROVEN["for servers alone"])
    assert str(found).startswith("certificate-expired")


def test_authorities_are_read_again_when_they_change(tmp_path: Path) -> None:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(STRANGER.pem)
    certificates = Certificates(trusted)
    check = shown(AUTHORITY.issue("capulet.example"))
    assert "certificate-" in str(certificates.inbound(check))
    trusted.write_bytes(STRANGER.pem + AUTHORITY.pem)
    assert "DNS-ID" in certificates.inbound(check).detail
    trusted.unlink()
    assert "DNS-ID" in certificates.inbound(check).detail


def test_authorities_that_were_configured_and_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        Certificates(tmp_path / "nowhere.pem")


# The same certificate in both directions


def in_tls(*replies: str, direct_tls: bool = False) -> Script:
    async def script(peer: Peer) -> None:
        if not direct_tls:
            await peer.header()
            peer.send(HEADER, features(STARTTLS))
            await peer.start_tls()
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        await peer.verify()
        peer.send(*replies)
        await peer.reader.read()

    return script


@pytest.fixture
def ask(checker: Checker, dns: DnsServer, tmp_path: Path):
    """The verdict on a check when DNS names a server that shows `theirs` and says `reply`."""

    async def ask(
        check: Check,
        theirs: Certificate,
        reply: str = "invalid",
        terms: Terms = ANY_EVIDENCE,
        *,
        direct_tls: bool = False,
    ) -> Verdict:
        context: ssl.SSLContext = server_context(theirs, tmp_path)
        script = in_tls(answer(reply), direct_tls=direct_tls)
        async with ScriptedAuthority(script, context=context, direct_tls=direct_tls) as authority:
            service = "_xmpps-server._tcp" if direct_tls else "_xmpp-server._tcp"
            name = "xmpp.capulet.example"
            dns.add_srv("capulet.example", name, authority.port, service=service)
            dns.add_address(name, authority.address)
            return await checker.check(check, terms, timeout_seconds=10)

    return ask


@pytest.mark.parametrize("direct_tls", [False, True])
async def test_same_certificate_on_both_sides_needs_no_answer(ask, direct_tls) -> None:
    verdict = await ask(shown(OURS), OURS, direct_tls=direct_tls)
    assert verdict == Verdict.valid(Evidence.SAME_CERTIFICATE)
    assert "DNS-ID capulet.example on both sides" in verdict.detail


ANOTHER = self_signed("verona.example")
EXPIRED = self_signed("capulet.example", expired=True)


@pytest.mark.parametrize(
    ("check", "theirs"),
    [
        (shown(OURS), self_signed("capulet.example")),
        (shown(self_signed("capulet.example")), OURS),
        (shown(self_signed("capulet.example"), OURS), OURS),
        (shown(ANOTHER), ANOTHER),
        (shown(EXPIRED), EXPIRED),
        (shown(OURS, encrypted=False), OURS),
        (shown(), OURS),
    ],
    ids=[
        "another key there",
        "another key here",
        "only further up the chain",
        "for another name",
        "expired",
        "inbound stream not encrypted",
        "none shown",
    ],
)
@pytest.mark.parametrize("reply", ["valid", "invalid"])
async def test_without_it_the_answer_decides(ask, check, theirs, reply) -> None:
    verdict = await ask(check, theirs, reply)
    assert verdict.outcome is Outcome(reply)
    assert verdict.evidence is (Evidence.KEY if reply == "valid" else None)


async def test_required_certificate_is_not_replaced_by_the_same_one_on_both_sides(ask) -> None:
    verdict = await ask(shown(OURS, require="certificate"), OURS, "valid")
    assert verdict == Verdict.error(Condition.NOT_AUTHORIZED, "certificate-self-signed")


@pytest.mark.parametrize(
    ("accepted", "check", "reply", "verdict"),
    [
        ({Evidence.KEY}, shown(OURS), "invalid", Verdict.invalid("answer-invalid")),
        ({Evidence.KEY}, PROVEN["for servers alone"], "invalid", Verdict.invalid("answer-invalid")),
        (
            {Evidence.CERTIFICATE},
            shown(OURS),
            "valid",
            Verdict.error(Condition.NOT_AUTHORIZED, "certificate-self-signed"),
        ),
        (
            {Evidence.SAME_CERTIFICATE},
            shown(self_signed("capulet.example")),
            "valid",
            Verdict.error(Condition.NOT_AUTHORIZED, "evidence-missing"),
        ),
    ],
    ids=["key, not the same certificate", "key, no certificate", "certificate", "same"],
)
async def test_only_accepted_evidence_counts(accepted, check, reply, verdict, ask) -> None:
    assert await ask(check, OURS, reply, Terms(frozenset(accepted))) == verdict


async def test_valid_key_says_where_and_how_it_was_confirmed(ask) -> None:
    verdict = await ask(shown(), OURS, "valid")
    assert verdict.detail.startswith("127.")
    assert verdict.detail.endswith("over TLSv1.3")
