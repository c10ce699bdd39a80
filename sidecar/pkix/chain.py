"""Whether a chain of certificates leads to an authority we trust (RFC 5280 §6).

A certificate for servers alone is as good as one for clients: public authorities issue no other
since 2026, and the purpose says nothing about who holds the key.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from sidecar.pkix.flaws import Flaw, Flawed

_MAX_CHAIN = 8
_PURPOSES = {
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.CLIENT_AUTH,
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}


class TrustStore:
    """The certificate authorities we trust."""

    def __init__(self, roots: Sequence[x509.Certificate]) -> None:
        self._subjects = {root.subject for root in roots}
        self._builder = None
        if roots:
            agnostic = verification.Criticality.AGNOSTIC
            self._builder = (
                verification.PolicyBuilder()
                .store(verification.Store(list(roots)))
                .max_chain_depth(_MAX_CHAIN)
                .extension_policies(
                    ca_policy=verification.ExtensionPolicy.webpki_defaults_ca().may_be_present(
                        x509.ExtendedKeyUsage, agnostic, _check_purposes
                    ),
                    ee_policy=verification.ExtensionPolicy.webpki_defaults_ee().may_be_present(
                        x509.ExtendedKeyUsage, agnostic, _check_purposes
                    ),
                )
            )

    @classmethod
    def from_pem(cls, pem: bytes) -> TrustStore:
        """The authorities in a PEM bundle; entries that cannot be read are left out."""
        marker = b"-----END CERTIFICATE-----"
        roots = []
        for block in pem.split(marker)[:-1]:
            try:
                with warnings.catch_warnings():  # of what a later version will refuse
                    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
                    roots.append(x509.load_pem_x509_certificate(block + marker))
            except ValueError:
                continue
        return cls(roots)

    def __len__(self) -> int:
        return len(self._subjects)

    def judge(self, chain: Sequence[x509.Certificate], now: datetime) -> Flawed | None:
        """Return what is wrong with `chain` (leaf first) at `now`, None if nothing is."""
        leaf, *others = chain
        flawed = out_of_date(leaf, now)
        if flawed is not None:
            return flawed
        problem = "there is no authority we trust"
        if self._builder is not None:
            try:
                self._builder.time(now).build_client_verifier().verify(leaf, others)
            except (verification.VerificationError, ValueError) as error:
                problem = str(error)
            else:
                return None
        return self._explain(leaf, others, now, problem)

    def _explain(
        self, leaf: x509.Certificate, others: Sequence[x509.Certificate], now: datetime, text: str
    ) -> Flawed:
        """Follow the issuers upwards, as far as they are there, to see where the chain ends."""
        current, seen = leaf, [leaf]
        while current.issuer not in self._subjects:
            if current.issuer == current.subject:
                if current is leaf:
                    return Flawed(Flaw.SELF_SIGNED)
                return Flawed(Flaw.UNTRUSTED, f"authority {_name(current.subject)} is unknown")
            above = next((c for c in others if c.subject == current.issuer and c not in seen), None)
            if above is None:
                missing = Flaw.INTERMEDIATE_MISSING if current is leaf else Flaw.UNTRUSTED
                return Flawed(missing, f"issuer {_name(current.issuer)} is unknown")
            flawed = out_of_date(above, now)
            if flawed is not None:
                return flawed
            if not _is_issued_by(current, above):
                return Flawed(Flaw.UNTRUSTED, f"not signed by {_name(above.subject)}")
            current = above
            seen.append(above)
        return Flawed(Flaw.REFUSED, text)


def out_of_date(certificate: x509.Certificate, now: datetime) -> Flawed | None:
    """Return the flaw of a certificate that is not valid at `now` (aware), if it is not."""
    name = _name(certificate.subject)
    if now > certificate.not_valid_after_utc:
        ended = certificate.not_valid_after_utc.strftime("%Y-%m-%d")
        return Flawed(Flaw.EXPIRED, f"{name}, valid until {ended}")
    if now < certificate.not_valid_before_utc:
        begins = certificate.not_valid_before_utc.strftime("%Y-%m-%d")
        return Flawed(Flaw.NOT_YET_VALID, f"{name}, valid from {begins}")
    return None


def issuer_name(certificate: x509.Certificate) -> str:
    """Who signed it, for people."""
    return _name(certificate.issuer)


def _check_purposes(
    policy: verification.Policy, certificate: x509.Certificate, extension: x509.ExtensionType | None
) -> None:
    if isinstance(extension, x509.ExtendedKeyUsage) and not _PURPOSES & set(extension):
        raise ValueError("issued neither for servers nor for clients")


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _name(name: x509.Name) -> str:
    return ascii(name.rfc4514_string()[:100])
