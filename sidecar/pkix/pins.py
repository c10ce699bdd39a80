"""Pins: which public key a peer's certificate must hold.

A pin is the SHA-256 of the SubjectPublicKeyInfo (RFC 7469 §2.4), not of the certificate: renewing
a certificate every few weeks keeps the pin as long as the key stays, and a self-signed one can be
pinned as well. Written as 64 lower-case hex digits.
"""

from __future__ import annotations

import re
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.errors import InvalidValue, shorten
from sidecar.pkix.names import UNREADABLE

_HEX = re.compile(r"[0-9a-f]{64}\Z")


def read_pin(text: str, field: str = "pins") -> str:
    """Return a pin in its canonical form. Raises InvalidValue."""
    pin = text.lower()
    if not _HEX.match(pin):
        raise InvalidValue(field, f"expected 64 hex digits, got {shorten(text)}")
    return pin


def pin_of(certificate: bytes) -> str | None:
    """Return the pin of a certificate (DER); None where it cannot be read."""
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
        return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    except UNREADABLE:
        return None
