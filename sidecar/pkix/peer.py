"""What the certificates a peer has shown prove about its domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from sidecar.errors import shorten
from sidecar.names import Domain
from sidecar.pkix.chain import TrustStore, issuer_name, out_of_date
from sidecar.pkix.flaws import Flaw, Flawed
from sidecar.pkix.names import UNREADABLE, name_for, names_in

_MAX_NAMES = 4


@dataclass(frozen=True, slots=True)
class Proven:
    """The domain is proven; `detail` says by which name and by whom."""

    detail: str


def judge(
    chain: Sequence[bytes],
    domain: Domain,
    trust: TrustStore,
    now: datetime,
    *,
    word: str | None = None,
) -> Proven | Flawed:
    """Judge a chain (DER, leaf first) of a live TLS session for `domain` at `now` (aware).

    `word` is what our own server says of the chain. Where it has given us no more than the leaf
    (COMPAT(ejabberd): fast_tls knows only that), its `valid` stands for the chain.
    """
    if not chain:
        return Flawed(Flaw.NONE_SHOWN)
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        return _judge(certificates, domain, trust, now, word)
    except UNREADABLE as error:  # parts of a certificate are read when they are asked for
        return Flawed(Flaw.UNREADABLE, shorten(str(error)))


def same(ours: bytes, theirs: bytes, domain: Domain, now: datetime) -> Proven | None:
    """Whether two live TLS sessions, one each way, prove `domain` together (XEP-0344 §2.6).

    `ours` is the leaf the peer has shown to our server, `theirs` what the server that DNS names
    has shown to us. Who signed it does not matter; its name and its dates do.
    """
    if ours != theirs:
        return None
    try:
        certificate = x509.load_der_x509_certificate(ours)
        if out_of_date(certificate, now) is not None:
            return None
        name = name_for(certificate, domain)
    except UNREADABLE:
        return None
    return None if name is None else Proven(f"{name} on both sides")


def trusted_leaf(
    chain: Sequence[bytes], trust: TrustStore, now: datetime
) -> x509.Certificate | None:
    """The leaf of `chain` (DER, leaf first), if an authority vouches for whatever it names."""
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        trusted = bool(certificates) and trust.judge(certificates, now) is None
    except UNREADABLE:
        return None
    return certificates[0] if trusted else None


def _judge(
    certificates: Sequence[x509.Certificate],
    domain: Domain,
    trust: TrustStore,
    now: datetime,
    word: str | None,
) -> Proven | Flawed:
    leaf = certificates[0]
    by_word = word == "valid" and len(certificates) == 1
    flawed = out_of_date(leaf, now) if by_word else trust.judge(certificates, now)
    if flawed is not None:
        if word and word != "valid" and len(certificates) == 1:
            return Flawed(flawed.flaw, f"{flawed.detail}; our server says {shorten(word)}")
        return flawed
    name = name_for(leaf, domain)
    if name is None:
        return Flawed(Flaw.WRONG_NAME, _shown(leaf))
    ours = " in the judgement of our server" if by_word else ""
    return Proven(f"{name}, issued by {issuer_name(leaf)}{ours}")


def _shown(leaf: x509.Certificate) -> str:
    names = [name for _, name in names_in(leaf)]
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"it names {', '.join(shorten(name) for name in names[:_MAX_NAMES]) or 'nobody'}{more}"
