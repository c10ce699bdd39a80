"""Client certificates by local domain, and what renewing one does."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from scripted_authority import DIALBACK, HEADER, Peer, ScriptedAuthority, answer, features

from sidecar.config import CertificateConfig
from sidecar.config.link_domains import LinkDomains
from sidecar.jobs import Check, Evidence, Verdict
from sidecar.lab.certificates import Authority, Certificate, self_signed
from sidecar.lab.network import Network
from sidecar.lab.prosody_config import ProsodySettings
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.s2s.checker import Checker
from sidecar.s2s.credentials import Credentials
from sidecar.s2s.resolver import Resolver

AUTHORITY = Authority()
SECRET = "s3cr3tf0rd14lb4ck"


def write(directory: Path, name: str, certificate: Certificate, *domains: str) -> CertificateConfig:
    chain, key = certificate.write(directory, name)
    return CertificateConfig(domains=LinkDomains(domains or [name]), certificate=chain, key=key)


def domain(name: str) -> Domain:
    return Domain.parse(name)


def shown_by(context: ssl.SSLContext) -> list[str]:
    """The names in the certificate a server sees when `context` is used."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context
    server.load_verify_locations(cadata=AUTHORITY.pem.decode())
    server.verify_mode = ssl.CERT_OPTIONAL
    chain, key = OWN
    server.load_cert_chain(chain, key)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname="capulet.example"),
        server.wrap_bio(there, back, server_side=True),
    ]
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
    der = ends[1].getpeercert(binary_form=True)
    if der is None:
        return []
    names = x509.load_der_x509_certificate(der).extensions
    found = names.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.get_values_for_type(x509.DNSName)


@pytest.fixture(autouse=True)
def own_certificate(tmp_path: Path) -> None:
    global OWN
    OWN = self_signed("capulet.example").write(tmp_path, "server")


def test_each_local_domain_shows_its_own_certificate(tmp_path: Path) -> None:
    credentials = Credentials(
        [
            write(tmp_path, "montague.example", AUTHORITY.issue("montague.example")),
            write(tmp_path, "rest", AUTHORITY.issue("*.verona.example"), "*.verona.example"),
        ]
    )
    for direct_tls in (False, True):

        def shown(name: str, direct_tls: bool = direct_tls) -> list[str]:
            return shown_by(credentials.context(domain(name), direct_tls=direct_tls))

        assert shown("montague.example") == ["montague.example"]
        assert shown("rooms.verona.example") == ["*.verona.example"]
        assert shown("verona.example") == []


def test_renewed_certificate_is_shown_from_then_on(tmp_path: Path) -> None:
    config = write(tmp_path, "montague.example", AUTHORITY.issue("montague.example"))
    credentials = Credentials([config])
    before = credentials.context(domain("montague.example"))
    assert credentials.context(domain("montague.example")) is before
    write(tmp_path, "montague.example", AUTHORITY.issue("montague.example", "new.example"))
    after = credentials.context(domain("montague.example"))
    assert shown_by(after) == ["montague.example", "new.example"]


def test_half_of_a_renewal_leaves_the_certificate_before(tmp_path: Path, caplog) -> None:
    config = write(tmp_path, "montague.example", AUTHORITY.issue("montague.example"))
    credentials = Credentials([config])
    renewed = AUTHORITY.issue("montague.example", "new.example")
    config.certificate.write_bytes(renewed.pem)  # the key does not fit yet
    for _ in range(3):
        assert shown_by(credentials.context(domain("montague.example"))) == ["montague.example"]
    assert caplog.text.count("is of no use") == 1
    config.key.write_bytes(renewed.key_pem)
    shown = shown_by(credentials.context(domain("montague.example")))
    assert shown == ["montague.example", "new.example"]


def test_certificate_that_vanishes_leaves_the_one_before(tmp_path: Path, caplog) -> None:
    config = write(tmp_path, "montague.example", AUTHORITY.issue("montague.example"))
    credentials = Credentials([config])
    config.key.unlink()
    for _ in range(3):
        assert shown_by(credentials.context(domain("montague.example"))) == ["montague.example"]
    assert caplog.text.count("is of no use") == 1


def test_certificate_that_cannot_be_used_at_the_start_is_told(tmp_path: Path) -> None:
    config = write(tmp_path, "montague.example", AUTHORITY.issue("montague.example"))
    config.key.write_bytes(AUTHORITY.issue("montague.example").key_pem)
    with pytest.raises(OSError, match=str(config.certificate)):
        Credentials([config])


@pytest.mark.parametrize("direct_tls", [False, True])
async def test_authoritative_server_sees_the_certificate_of_the_target_domain(
    direct_tls: bool, dns, resolver, tmp_path: Path
) -> None:
    seen: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*OWN)
    context.load_verify_locations(cadata=AUTHORITY.pem.decode())
    context.verify_mode = ssl.CERT_OPTIONAL

    async def script(peer: Peer) -> None:
        await peer.header()
        if not direct_tls:
            peer.send(HEADER, features("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"))
            await peer.start_tls()
            await peer.header()
        seen.set_result(peer.writer.get_extra_info("ssl_object").getpeercert())
        peer.send(HEADER, features(DIALBACK))
        await peer.verify()
        peer.send(answer("valid"))
        await peer.reader.read()

    config = write(tmp_path, "montague.example", AUTHORITY.issue("montague.example"))
    checker = Checker(resolver, credentials=Credentials([config]), allow_private_addresses=True)
    async with ScriptedAuthority(script, context=context, direct_tls=direct_tls) as authority:
        service = "_xmpps-server._tcp" if direct_tls else "_xmpp-server._tcp"
        dns.add_srv("capulet.example", "xmpp.capulet.example", authority.port, service=service)
        dns.add_address("xmpp.capulet.example", authority.address)
        assert await checker.check(check("0" * 64)) == Verdict.valid(Evidence.KEY)
    certificate = await seen
    assert isinstance(certificate, dict)
    assert certificate["subjectAltName"] == (("DNS", "montague.example"),)


def check(key: str) -> Check:
    pair = DomainPair(sender=domain("capulet.example"), target=domain("montague.example"))
    return Check(pair=pair, stream=StreamId.parse("D60000229F"), key=DialbackKey.parse(key))


@pytest.mark.interop
async def test_stock_prosody_that_demands_certificates_answers_us_with_ours_only(
    network: Network, tmp_path: Path
) -> None:
    """`s2s_secure_auth`: it closes a stream from a domain it holds no valid certificate of."""
    await network.prosody(
        ProsodySettings(
            hosts=["capulet.example"],
            certificates={"capulet.example": AUTHORITY.issue("capulet.example")},
            trusted_pem=AUTHORITY.pem,
            s2s_secure_auth=True,
            s2s_require_encryption=True,
            options={"dialback_secret": SECRET},
        )
    )
    resolver = Resolver([network.dns.nameserver])
    config = write(tmp_path, "montague.example", AUTHORITY.issue("montague.example"))
    known = Checker(resolver, credentials=Credentials([config]), allow_private_addresses=True)
    assert await known.check(check("0" * 64)) == Verdict.invalid("answer-invalid")
    unknown = Checker(resolver, allow_private_addresses=True)
    verdict = await unknown.check(check("0" * 64))
    assert verdict.reason == "stream-error"
    assert verdict.detail.startswith("'not-authorized'")
    await resolver.close()
