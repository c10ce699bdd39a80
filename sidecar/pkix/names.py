"""Whether a certificate names an XMPP domain (RFC 6120 §13.7.1, RFC 9525).

Three kinds of names count: SRV-ID (`_xmpp-server.example.org`, RFC 4985), DNS-ID with a wildcard
for one whole label, and xmppAddr (RFC 6120 §13.7.1.4). The common name does not (RFC 9525 §2).
"""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ObjectIdentifier

from sidecar.errors import InvalidValue
from sidecar.names import Domain

_SRV_NAME = ObjectIdentifier("1.3.6.1.5.5.7.8.7")
_XMPP_ADDR = ObjectIdentifier("1.3.6.1.5.5.7.8.5")
_SERVICE = "_xmpp-server."
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What reading a part of a malformed certificate can raise."""

_UTF8_STRING, _IA5_STRING = 0x0C, 0x16


def name_for(certificate: x509.Certificate, domain: Domain) -> str | None:
    """Return the name in `certificate` that is `domain`, with its kind, or None."""
    for kind, name in names_in(certificate):
        if kind == "xmppAddr":
            if _domain(name) == domain:
                return f"{kind} {domain}"  # not as spelt there: it may be spelt in many ways
            continue
        if kind == "SRV-ID":
            matches = name.lower() == _SERVICE + domain.a_label
        else:
            matches = _dns_id_matches(name.lower(), domain.a_label)
        if matches:
            return f"{kind} {name}"
    return None


def names_in(certificate: x509.Certificate) -> Iterator[tuple[str, str]]:
    """Every (kind, name) that could name an XMPP domain."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return
    for general in found.value:
        if isinstance(general, x509.DNSName):
            yield "DNS-ID", general.value
        elif isinstance(general, x509.OtherName):
            if general.type_id == _SRV_NAME:
                name = _string(general.value, _IA5_STRING)
                if name is not None:
                    yield "SRV-ID", name
            elif general.type_id == _XMPP_ADDR:
                name = _string(general.value, _UTF8_STRING)
                if name is not None:
                    yield "xmppAddr", name


def _dns_id_matches(name: str, a_label: str) -> bool:
    """A wildcard stands for the whole first label, never for a public suffix like `com`."""
    if name == a_label:
        return True
    if not name.startswith("*.") or name.count(".") < 2:
        return False
    return a_label.partition(".")[2] == name[2:]


def _string(der: bytes, tag: int) -> str | None:
    """The text of one DER string of less than 128 bytes or with a long length of one or two."""
    if len(der) < 2 or der[0] != tag:
        return None
    length, start = der[1], 2
    if length in (0x81, 0x82):
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    if len(der) != start + length or der[1] > 0x82 or der[1] == 0x80:
        return None
    try:
        return der[start:].decode()
    except UnicodeDecodeError:
        return None


def _domain(text: str) -> Domain | None:
    try:
        return Domain.parse(text)
    except InvalidValue:
        return None
