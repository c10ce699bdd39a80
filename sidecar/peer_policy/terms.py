"""What a peer has to meet in one handshake, and what is refused because it does not.

A refusal is always a dialback error, never `invalid` (XEP-0220 §2.5): nothing was learnt about
the key, and `invalid` would end the stream with all other domain pairs on it. Its condition is
`policy-violation` where a rule denies the peer or asks for encryption. `forbidden` is none of
ours: there it means that the key was found wrong. A certificate that is not the pinned one is a
missing "proof of authorization", `not-authorized`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.jobs import Check, Condition, Evidence, Issue, Verdict
from sidecar.peer_policy.rule import Action, PeerRule
from sidecar.pkix.pins import pin_of

DENIED = "policy-denied"
ENCRYPTION_REQUIRED = "policy-encryption-required"
PIN_MISMATCH = "policy-pin-mismatch"
CERTIFICATE_WANTED = "certificate-wanted"
"""The one reason that is not final: our server is to ask again, with the peer's certificate."""


@dataclass(frozen=True, slots=True)
class Terms:
    """`rule` is the pattern of the rule they come from, None where the configuration decides.

    With `pins` every certificate that the peer shows has to hold one of these keys: on its stream
    to us, on ours to it, and on the stream on which its server is asked about a key.
    """

    evidence: frozenset[Evidence] = frozenset(Evidence)
    denied: bool = False
    require_encryption: bool = False
    pins: frozenset[str] = frozenset()
    rule: str | None = None

    @property
    def needs_encryption(self) -> bool:
        """Pins mean nothing on cleartext."""
        return self.require_encryption or bool(self.pins)


def terms_of(rule: PeerRule, evidence: frozenset[Evidence]) -> Terms:
    """The terms of a rule; `evidence` is what the configuration says."""
    return Terms(
        evidence if rule.evidence is None else rule.evidence,
        rule.action is Action.DENY,
        rule.require_encryption,
        rule.pins,
        str(rule.pattern),
    )


def refuse_check(terms: Terms, check: Check) -> Verdict | None:
    """The refusal of a dialback request, by what is known of the peer's stream to us.

    A peer that shows no certificate there is not refused for it: then the server that is asked
    about the key has to show the pinned one.
    """
    refusal = _refuse(terms, encrypted=check.encrypted)
    if refusal is None and check.certificates:
        refusal = refuse_shown(terms, check.certificates[0])
    return refusal


def refuse_issue(terms: Terms, issue: Issue) -> Verdict | None:
    """The refusal of a key for a stream to the peer, which `evidence` is not about.

    Where pins decide there is no key without a certificate, whatever our server says of it.
    """
    refusal = _refuse(terms, encrypted=issue.encrypted)
    if refusal is None and issue.certificate is None and issue.certificate_on_demand and terms.pins:
        return Verdict.error(Condition.NOT_AUTHORIZED, CERTIFICATE_WANTED, f"by rule {terms.rule}")
    return refusal or refuse_shown(terms, issue.certificate)


def refuse_shown(terms: Terms, certificate: bytes | None) -> Verdict | None:
    """The refusal of a certificate (DER) of the peer that is not a pinned one."""
    if not terms.pins:
        return None
    if certificate is None:
        return _mismatch("no certificate was shown")
    pin = pin_of(certificate)
    if pin in terms.pins:
        return None
    return _mismatch(f"its key is {pin}" if pin else "a certificate that cannot be read")


def _refuse(terms: Terms, *, encrypted: bool) -> Verdict | None:
    if terms.denied:
        return Verdict.error(Condition.POLICY_VIOLATION, DENIED, f"by rule {terms.rule}")
    if terms.needs_encryption and not encrypted:
        return Verdict.error(
            Condition.POLICY_VIOLATION, ENCRYPTION_REQUIRED, f"by rule {terms.rule}"
        )
    return None


def _mismatch(detail: str) -> Verdict:
    return Verdict.error(Condition.NOT_AUTHORIZED, PIN_MISMATCH, detail)
