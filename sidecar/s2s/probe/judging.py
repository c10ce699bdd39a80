"""What is to be said of a connection that a probe has made."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from sidecar.names import Domain
from sidecar.pkix.flaws import Flawed
from sidecar.pkix.names import UNREADABLE
from sidecar.s2s.evidence import Certificates
from sidecar.s2s.probe.findings import Finding, Rule
from sidecar.s2s.probe.stream import Seen

_ENDS_SOON = timedelta(days=14)
_FLAW_RULES = {rule.id: rule for rule in Rule if rule.id.startswith("certificate-")}

_Found = Iterator[tuple[Rule, str]]


def judge_connection(
    seen: Seen, domain: Domain, certificates: Certificates, now: datetime, *, shown: bool
) -> list[Finding]:
    """`shown`: a certificate of ours was there to be seen."""
    found = [*_judge_tls(seen, domain, certificates, now), *_judge_stream(seen, shown=shown)]
    return [Finding(rule, seen.place, text) for rule, text in found]


def _judge_tls(seen: Seen, domain: Domain, certificates: Certificates, now: datetime) -> _Found:
    if seen.chain:
        yield from _judge_certificate(seen.chain, domain, certificates, now)
    if seen.tls_version and seen.tls_version not in ("TLSv1.2", "TLSv1.3"):
        yield Rule.TLS_OLD, seen.tls_version
    if seen.direct_tls and seen.tls_version and seen.alpn != "xmpp-server":
        yield Rule.TLS_NO_ALPN, seen.alpn or "none"


def _judge_certificate(
    chain: tuple[bytes, ...], domain: Domain, certificates: Certificates, now: datetime
) -> _Found:
    judged = certificates.judge(chain, domain)
    if isinstance(judged, Flawed):
        yield _FLAW_RULES[judged.flaw.value], judged.detail
        return
    leaf = x509.load_der_x509_certificate(chain[0])
    if leaf.not_valid_after_utc - now < _ENDS_SOON:
        yield Rule.CERTIFICATE_ENDS_SOON, f"{leaf.not_valid_after_utc:%Y-%m-%d}"
    if not _is_for_clients(leaf):
        yield Rule.CERTIFICATE_SERVER_ONLY, ""


def _judge_stream(seen: Seen, *, shown: bool) -> _Found:
    if seen.trouble is not None:
        yield seen.trouble.rule, seen.trouble.text
    elif seen.legacy:
        yield Rule.STREAM_LEGACY, ""
    else:
        yield from _judge_features(seen, shown=shown)
    if seen.trouble is None and not seen.stream_id:
        yield Rule.STREAM_NO_ID, ""
    if seen.dialback.startswith("invalid"):
        yield Rule.DIALBACK_INVALID, seen.dialback
    elif seen.dialback.startswith("error"):
        yield Rule.DIALBACK_ERROR, seen.dialback


def _judge_features(seen: Seen, *, shown: bool) -> _Found:
    external = "EXTERNAL" in seen.mechanisms
    if not seen.tls_version:
        yield Rule.TLS_ABSENT, ""
    elif not external:
        yield Rule.EXTERNAL_ABSENT, "" if shown else "we have shown none"
    if not seen.dialback_offered:
        no_way = shown and seen.tls_version and not external
        yield (Rule.NO_AUTHENTICATION if no_way else Rule.DIALBACK_ABSENT), ""
    elif not seen.dialback_errors:
        yield Rule.DIALBACK_NO_ERRORS, ""


def _is_for_clients(certificate: x509.Certificate) -> bool:
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except UNREADABLE:
        return False
    return ExtendedKeyUsageOID.CLIENT_AUTH in purposes
