"""Chains of any shape, for what the lab's two kinds of certificates do not have."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

NOW = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC)
_DAY = datetime.timedelta(days=1)
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
CODE = ExtendedKeyUsageOID.CODE_SIGNING


@dataclass
class Made:
    """A certificate with its key, which can sign others."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


def other_name(oid: str, text: str, tag: int) -> x509.OtherName:
    data = text.encode()
    return x509.OtherName(ObjectIdentifier(oid), bytes([tag, len(data)]) + data)


def srv_id(text: str) -> x509.OtherName:
    return other_name("1.3.6.1.5.5.7.8.7", text, 0x16)


def xmpp_addr(text: str) -> x509.OtherName:
    return other_name("1.3.6.1.5.5.7.8.5", text, 0x0C)


def dns(*names: str) -> list[x509.GeneralName]:
    return [x509.DNSName(name) for name in names]


def make(
    subject: str,
    *,
    issuer: Made | None = None,
    names: Sequence[x509.GeneralName] = (),
    authority: bool = False,
    purposes: Sequence[ObjectIdentifier] = (),
    from_days: int = -10,
    to_days: int = 80,
) -> Made:
    """A certificate valid from and to so many days after NOW; self-signed without `issuer`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    signing = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + from_days * _DAY)
        .not_valid_after(NOW + to_days * _DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()),
            critical=False,
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=not authority,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=authority,
                crl_sign=authority,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return Made(builder.sign(signing, hashes.SHA256()), key)
