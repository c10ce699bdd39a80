"""Certificates for test domains: self-signed, or from a small CA.

DNS names only and both purposes (serverAuth, clientAuth) unless asked otherwise, because a
stock server refuses an s2s client certificate that is not also for clients.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
BOTH = (SERVER_AUTH, CLIENT_AUTH)
_XMPP_ADDR = ObjectIdentifier("1.3.6.1.5.5.7.8.5")  # RFC 6120 §13.7.1.4
_UTF8_STRING = b"\x0c"
_ONE_HOUR = datetime.timedelta(hours=1)
_VALID = datetime.timedelta(days=30)


@dataclass(frozen=True)
class Certificate:
    """A certificate, its private key, and the chain above it as PEM."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    chain_pem: bytes = b""

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        """Leaf first, then the chain."""
        return self.certificate.public_bytes(Encoding.PEM) + self.chain_pem

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Write `NAME.crt` and `NAME.key` (mode 0600) and return both paths."""
        directory.mkdir(parents=True, exist_ok=True)
        certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
        certificate.write_bytes(self.pem)
        key.touch(mode=0o600)
        key.write_bytes(self.key_pem)
        return certificate, key


def self_signed(
    *names: str, purposes: Sequence[ObjectIdentifier] = BOTH, expired: bool = False
) -> Certificate:
    """Return a certificate for the DNS `names`, signed by its own key."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Certificate(_sign(names, purposes, key, expired, issuer=None), key)


def renewed(certificate: Certificate, *names: str) -> Certificate:
    """Return another self-signed certificate for the DNS `names`, with the key of the first."""
    return Certificate(_sign(names, BOTH, certificate.key, False, issuer=None), certificate.key)


class Authority:
    """A certificate authority with one root; `pem` is what servers are told to trust."""

    def __init__(self, name: str = "lab authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        self.root = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _ONE_HOUR)
            .not_valid_after(now + _VALID)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(certificates=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        return self.root.public_bytes(Encoding.PEM)

    def issue(
        self,
        *names: str,
        purposes: Sequence[ObjectIdentifier] = BOTH,
        expired: bool = False,
        xmpp_addresses: Sequence[str] = (),
    ) -> Certificate:
        """Return a certificate for the DNS `names`, signed by this authority.

        `xmpp_addresses` are for the name form of old, `id-on-xmppAddr`.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        issued = _sign(
            names, purposes, key, expired, (self.root, self._key), xmpp_addresses=xmpp_addresses
        )
        return Certificate(issued, key, chain_pem=self.pem)


def _sign(
    names: Sequence[str],
    purposes: Sequence[ObjectIdentifier],
    key: ec.EllipticCurvePrivateKey,
    expired: bool,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
    xmpp_addresses: Sequence[str] = (),
) -> x509.Certificate:
    general_names: list[x509.GeneralName] = [x509.DNSName(_a_label(name)) for name in names]
    for address in xmpp_addresses:
        text = address.encode()
        general_names.append(x509.OtherName(_XMPP_ADDR, _UTF8_STRING + bytes([len(text)]) + text))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    end = datetime.datetime.now(datetime.UTC) + (-_ONE_HOUR if expired else _VALID)
    issuer_name, signing_key = (issuer[0].subject, issuer[1]) if issuer else (subject, key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - _VALID - _ONE_HOUR)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(general_names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(certificates=False), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()),
            critical=False,
        )
    )
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return builder.sign(signing_key, hashes.SHA256())


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _a_label(name: str) -> str:
    return name if name.isascii() else name.encode("idna").decode()
