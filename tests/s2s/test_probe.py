"""What a probe finds: real sockets, real TLS, real DNS answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
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
    dialback_error,
    features,
    server_context,
    stream_error,
)

from sidecar.config import CertificateConfig
from sidecar.config.link_domains import LinkDomains
from sidecar.jobs import Issue
from sidecar.lab.addresses import free_ports, fresh_address
from sidecar.lab.certificates import SERVER_AUTH, Authority, Certificate, self_signed
from sidecar.lab.dns import DnsServer
from sidecar.lab.script import Fail
from sidecar.names import DialbackKey, Domain, DomainPair
from sidecar.operations.probe_report import ProbeReport
from sidecar.s2s import dial as dialling
from sidecar.s2s.address_budget import AddressBudget, DialLimits
from sidecar.s2s.credentials import Credentials
from sidecar.s2s.evidence import Certificates, utc_now
from sidecar.s2s.failures import Failure, Reason
from sidecar.s2s.probe.findings import Rule
from sidecar.s2s.probe.prober import Depth, Probe, Prober
from sidecar.s2s.probe.report import report_of
from sidecar.s2s.resolver import Resolver

CAPULET, MONTAGUE = Domain.parse("capulet.example"), Domain.parse("montague.example")
AUTHORITY = Authority()
EXTERNAL = (
    "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
    "<mechanism>EXTERNAL</mechanism></mechanisms>"
)
BEST = AUTHORITY.issue("capulet.example")


@pytest.fixture
def prober(resolver: Resolver, tmp_path: Path) -> Prober:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(AUTHORITY.pem)
    return Prober(
        resolver=resolver,
        certificates=Certificates(trusted),
        credentials=Credentials(),
        now=utc_now,
        allow_private_addresses=True,
        stream_seconds=1.0,
        dialback_seconds=1.0,
    )


def rules(probe: Probe) -> set[str]:
    return {finding.rule.id for finding in probe.findings}


def publish(dns: DnsServer, address: str, port: int, service: str = "_xmpp-server._tcp") -> None:
    dns.add_srv(CAPULET, "xmpp.capulet.example", port, service=service)
    dns.add_address("xmpp.capulet.example", address)


USUAL = {"dns-no-direct-tls", "dns-no-ipv6"}
"""Of every domain of these tests: loopback has no addresses of version 6 for everybody."""


# DNS and TCP


async def test_domain_that_does_not_exist(prober: Prober) -> None:
    probe = await prober.probe(CAPULET)
    assert rules(probe) == {"dns-no-srv", "dns-no-address"}
    assert probe.failed


@pytest.mark.parametrize("name", ["capulet.example", "bücher.example"])
async def test_report_of_a_domain_without_srv_is_plain_values(name: str, prober, dns) -> None:
    report = report_of(await prober.probe(Domain.parse(name), local=MONTAGUE))
    again = msgspec.json.decode(msgspec.json.encode(report), type=ProbeReport)
    assert again == report
    assert (report.domain, report.sender) == (name, "montague.example")
    assert report.targets[0].name.isascii()


async def test_domain_that_says_it_has_no_service(prober: Prober, dns: DnsServer) -> None:
    dns.add_srv(CAPULET, ".", 0)
    probe = await prober.probe(CAPULET)
    assert rules(probe) == {"dns-no-service"}


async def test_dns_that_fails(prober: Prober, dns: DnsServer) -> None:
    dns.script(CAPULET, Fail("SERVFAIL"))
    probe = await prober.probe(CAPULET)
    assert rules(probe) == {"dns-failed"}
    assert "dns-servfail" in probe.findings[0].text


async def test_target_without_address_beside_one_that_is_fine(prober, dns) -> None:
    dns.add_srv(CAPULET, "nowhere.example", 5269, priority=1)
    async with serving(in_tls(), dns) as _:
        probe = await prober.probe(CAPULET)
    assert [f.place for f in probe.findings if f.rule is Rule.DNS_NO_ADDRESS] == ["nowhere.example"]
    assert len(probe.targets) == 2


async def test_address_that_is_not_public_is_told_and_not_dialled(resolver, dns, prober) -> None:
    careful = Prober(
        resolver=resolver,
        certificates=prober.certificates,
        credentials=Credentials(),
        now=utc_now,
    )
    async with serving(in_tls(), dns) as authority:
        probe = await careful.probe(CAPULET)
        assert authority.connections == 0
    assert rules(probe) == USUAL | {"dns-not-public"}


async def test_nothing_listens(prober: Prober, dns: DnsServer) -> None:
    address = fresh_address()
    publish(dns, address, *free_ports(address))
    probe = await prober.probe(CAPULET)
    assert rules(probe) == USUAL | {"tcp-refused"}
    assert probe.failed


async def test_depth_of_dns_connects_to_nobody(prober: Prober, dns: DnsServer) -> None:
    async with serving(in_tls(), dns) as authority:
        probe = await prober.probe(CAPULET, depth=Depth.DNS)
        assert authority.connections == 0
    assert rules(probe) == USUAL


# Streams


def serving(script: Script, dns: DnsServer, **more) -> ScriptedAuthority:
    authority = ScriptedAuthority(script, **more)
    (authority.port,) = free_ports(authority.address)
    return _Published(authority, dns)  # type: ignore[return-value]


class _Published:
    def __init__(self, authority: ScriptedAuthority, dns: DnsServer) -> None:
        self._authority, self._dns = authority, dns

    async def __aenter__(self) -> ScriptedAuthority:
        authority = await self._authority.__aenter__()
        service = "_xmpps-server._tcp" if authority._direct_tls else "_xmpp-server._tcp"
        publish(self._dns, authority.address, authority.port, service)
        return authority

    async def __aexit__(self, *error: object) -> None:
        await self._authority.__aexit__(*error)


def says(*texts: str) -> Script:
    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(*texts)
        await peer.reader.read()

    return script


def in_tls(*texts: str, dialback: str = DIALBACK, sasl: str = EXTERNAL) -> Script:
    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(STARTTLS))
        await peer.start_tls()
        await peer.header()
        peer.send(BARE_HEADER, features(sasl, dialback))
        await peer.reader.read()

    return script


async def silent(peer: Peer) -> None:
    await peer.reader.read()


STREAMS: dict[str, tuple[Script, set[str]]] = {
    "no XMPP": (says("HTTP/1.1 400 Bad Request\r\n\r\n"), {"stream-failed"}),
    "silence": (silent, {"stream-timeout"}),
    "host-unknown": (says(HEADER, stream_error("host-unknown")), {"host-unknown"}),
    "another stream error": (
        says(HEADER, stream_error("policy-violation")),
        {"stream-error"},
    ),
    "closed": (says(HEADER, "</stream:stream>"), {"stream-failed"}),
    "legacy": (says(LEGACY_HEADER), {"stream-legacy"}),
    "no TLS": (says(HEADER, features(DIALBACK)), {"tls-absent"}),
    "refuses the TLS it offers": (
        says(HEADER, features(STARTTLS), "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
        {"tls-failed"},
    ),
    "no TLS after proceed": (
        says(HEADER, features(STARTTLS), PROCEED, "no TLS at all"),
        {"stream-failed"},
    ),
    "all right": (in_tls(), set()),
    "without SASL EXTERNAL": (in_tls(sasl=""), {"external-absent"}),
    "mechanisms that are no names": (
        in_tls(sasl=EXTERNAL.replace("EXTERNAL", "EXTERNAL\u009b2J")),
        {"external-absent"},
    ),
    "without dialback": (in_tls(dialback=""), {"dialback-absent"}),
    "neither SASL EXTERNAL nor dialback": (
        in_tls(sasl="", dialback=""),
        {"external-absent", "dialback-absent"},
    ),
    "without a stream ID": (
        says(HEADER.replace(" id='peer1'", ""), features(DIALBACK)),
        {"tls-absent", "stream-no-id"},
    ),
    "without dialback errors": (
        in_tls(dialback=DIALBACK.replace("<errors/>", "")),
        {"dialback-no-errors"},
    ),
}


@pytest.mark.parametrize("name", STREAMS)
async def test_stream_is_judged(name, prober, dns, tmp_path) -> None:
    script, expected = STREAMS[name]
    async with serving(script, dns, context=server_context(BEST, tmp_path)):
        probe = await prober.probe(CAPULET)
    assert rules(probe) - USUAL == expected


CERTIFICATES: dict[str, tuple[Callable[[], Certificate], set[str]]] = {
    "for servers and clients": (lambda: BEST, set()),
    "for servers alone": (
        lambda: AUTHORITY.issue(CAPULET, purposes=[SERVER_AUTH]),
        {"certificate-server-only"},
    ),
    "self-signed": (lambda: self_signed(CAPULET), {"certificate-self-signed"}),
    "expired": (lambda: AUTHORITY.issue(CAPULET, expired=True), {"certificate-expired"}),
    "of the host that SRV points at": (
        lambda: AUTHORITY.issue("xmpp.capulet.example"),
        {"certificate-wrong-name"},
    ),
    "of an unknown authority": (
        lambda: Authority("unknown").issue(CAPULET),
        {"certificate-untrusted"},
    ),
}


@pytest.mark.parametrize("name", CERTIFICATES)
@pytest.mark.parametrize("direct_tls", [False, True])
async def test_certificate_is_judged(name, direct_tls, prober, dns, tmp_path) -> None:
    make, expected = CERTIFICATES[name]
    script = says(HEADER, features(EXTERNAL, DIALBACK)) if direct_tls else in_tls()
    context = server_context(make(), tmp_path)
    async with serving(script, dns, context=context, direct_tls=direct_tls):
        probe = await prober.probe(CAPULET)
    assert rules(probe) - USUAL - {"dns-direct-tls-only"} == expected
    (seen,) = probe.targets[0].seen
    assert seen.tls_version == "TLSv1.3"


async def test_certificate_that_ends_soon_is_told_in_time(resolver, prober, dns, tmp_path) -> None:
    later = Prober(
        resolver=resolver,
        certificates=prober.certificates,
        credentials=Credentials(),
        now=lambda: utc_now() + timedelta(days=20),
        allow_private_addresses=True,
    )
    async with serving(in_tls(), dns, context=server_context(BEST, tmp_path)):
        probe = await later.probe(CAPULET)
    assert rules(probe) - USUAL == {"certificate-ends-soon"}


async def test_direct_tls_without_alpn(prober, dns, tmp_path) -> None:
    context = server_context(BEST, tmp_path)
    context.set_alpn_protocols(["h2"])
    script = says(HEADER, features(EXTERNAL, DIALBACK))
    async with serving(script, dns, context=context, direct_tls=True):
        probe = await prober.probe(CAPULET)
    assert "tls-no-alpn" in rules(probe) or "tls-failed" in rules(probe)


async def test_no_way_in_for_one_whose_certificate_was_seen(prober, dns, tmp_path) -> None:
    chain, key = self_signed(MONTAGUE).write(tmp_path, "ours")
    ours = CertificateConfig(domains=LinkDomains([MONTAGUE]), certificate=chain, key=key)
    showing = replace(prober, credentials=Credentials([ours]))
    context = server_context(BEST, tmp_path)
    async with serving(in_tls(sasl="", dialback=""), dns, context=context):
        probe = await showing.probe(CAPULET, local=MONTAGUE)
    assert rules(probe) - USUAL == {"external-absent", "no-authentication"}
    assert probe.failed


async def test_address_that_cannot_be_reached_from_here_leaves_it_open_whether_others_can(
    prober, dns, monkeypatch
) -> None:
    """A machine without IPv6 says nothing about the domain's IPv6."""
    connect = dialling._connect

    async def no_ipv6(address, port, allowed):
        if ":" in address:
            return Failure(Reason.CONNECT_UNREACHABLE, "ENETUNREACH")
        return await connect(address, port, allowed)

    monkeypatch.setattr(dialling, "_connect", no_ipv6)
    dns.add_address("xmpp.capulet.example", "2001:db8::1")
    async with serving(says(HEADER, features(DIALBACK)), dns):
        probe = await prober.probe(CAPULET)
    assert rules(probe) - USUAL == {"tcp-no-ipv6-here", "tls-absent"}
    assert not probe.failed
    dns.remove("xmpp.capulet.example", "A")
    probe = await prober.probe(CAPULET)
    assert rules(probe) - USUAL == {"tcp-no-ipv6-here", "no-connection"}
    assert probe.failed


async def test_whole_probe_takes_no_longer_than_it_may(prober, dns) -> None:
    hurried = replace(prober, seconds=0.3, stream_seconds=60.0)
    async with serving(silent, dns):
        probe = await hurried.probe(CAPULET)
    assert rules(probe) - USUAL == {"probe-timeout"}
    assert probe.targets[0].addresses


async def test_no_address_is_dialled_more_often_than_the_budget_allows(prober, dns) -> None:
    budget = AddressBudget(DialLimits(1, 0.001, 1, 0.001), clock=lambda: 0.0)
    limited = replace(prober, budget=budget)
    async with serving(says(HEADER, features(DIALBACK)), dns) as authority:
        assert "probe-limited" not in rules(await limited.probe(CAPULET))
        assert "probe-limited" in rules(await limited.probe(CAPULET))
        assert authority.connections == 1


async def test_no_more_than_sixteen_addresses_are_dialled(prober, dns) -> None:
    dns.add_srv(CAPULET, "many.example", 1)
    dns.add_srv(CAPULET, "more.example", 1)
    dns.add_address("many.example", *(f"127.66.0.{n}" for n in range(1, 13)))
    dns.add_address("more.example", *(f"127.66.1.{n}" for n in range(1, 13)))
    probe = await prober.probe(CAPULET)
    refused = [finding for finding in probe.findings if finding.rule is Rule.TCP_REFUSED]
    assert len(refused) == 16


# Dialback, to the end


def result(outcome: str, inner: str = "", *, sender: str = "montague.example") -> str:
    return (
        f"<db:result xmlns:db='jabber:server:dialback' from='capulet.example' to='{sender}' "
        f"type='{outcome}'>{inner}</db:result>"
    )


def receiving(*texts: str) -> Script:
    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(HEADER, features(DIALBACK))
        request = await peer.until("</db:result>")
        assert "from='montague.example' to='capulet.example'>key-for-peer1<" in request
        peer.send(*texts)
        await peer.reader.read()

    return script


async def issue(job: Issue) -> DialbackKey:
    assert job.pair == DomainPair(sender=MONTAGUE, target=CAPULET)
    assert (job.encrypted, job.certificate) == (False, None)
    return DialbackKey.parse(f"key-for-{job.stream}")


DIALBACKS: dict[str, tuple[Script, set[str]]] = {
    "valid": (receiving(result("valid")), set()),
    "another pair first": (
        receiving(result("invalid", sender="verona.example"), result("valid")),
        set(),
    ),
    "invalid": (receiving(result("invalid")), {"dialback-invalid"}),
    "error": (
        receiving(result("error", dialback_error("remote-server-timeout"))),
        {"dialback-error"},
    ),
    "never": (receiving(), {"dialback-timeout"}),
    "closed": (receiving("</stream:stream>"), {"dialback-refused"}),
    "stream error": (receiving(stream_error("not-authorized")), {"dialback-refused"}),
}


@pytest.mark.parametrize("id", ["", " id='two words'"])
async def test_stream_without_an_id_of_use_is_no_place_for_a_key(id, prober, dns) -> None:
    script = says(HEADER.replace(" id='peer1'", id), features(DIALBACK))
    async with serving(script, dns):
        probe = await replace(prober, issue=issue).probe(CAPULET, local=MONTAGUE)
    assert "stream-no-id" in rules(probe)
    assert probe.targets[0].seen[0].dialback == ""


@pytest.mark.parametrize("name", DIALBACKS)
async def test_our_domain_is_proven_to_the_end(name, resolver, prober, dns) -> None:
    script, expected = DIALBACKS[name]
    initiating = Prober(
        resolver=resolver,
        certificates=prober.certificates,
        credentials=Credentials(),
        now=utc_now,
        allow_private_addresses=True,
        issue=issue,
        dialback_seconds=0.5,
    )
    async with serving(script, dns):
        probe = await initiating.probe(CAPULET, local=MONTAGUE)
    assert rules(probe) - USUAL - {"tls-absent"} == expected
    assert (probe.targets[0].seen[0].dialback == "valid") == (not expected)


def test_rules_have_ids_of_their_own() -> None:
    ids = [rule.id for rule in Rule]
    assert len(ids) == len(set(ids))
