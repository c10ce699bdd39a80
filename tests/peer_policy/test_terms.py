"""What a rule asks of a peer in a check and before a key is issued. Never `invalid`."""

from __future__ import annotations

from typing import Any

import pytest
from rules_for_tests import rule

from sidecar.jobs import Check, Condition, Evidence, Issue, Outcome, Verdict
from sidecar.lab.certificates import self_signed
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.peer_policy import Action, Terms, refuse_check, refuse_issue, terms_of
from sidecar.pkix.pins import pin_of

PEER, OURS = Domain.parse("peer.example"), Domain.parse("capulet.example")
GOOD, OTHER = self_signed("peer.example").der, self_signed("peer.example").der
PIN = pin_of(GOOD)
assert PIN is not None
ALL = frozenset(Evidence)
STREAM = StreamId.parse("S1")


def check(**facts: Any) -> Check:
    pair = DomainPair(sender=PEER, target=OURS)
    return Check(pair=pair, stream=STREAM, key=DialbackKey("5e"), **facts)


def issue(**facts: Any) -> Issue:
    return Issue(pair=DomainPair(sender=OURS, target=PEER), stream=STREAM, **facts)


DENIED = Verdict.error(Condition.POLICY_VIOLATION, "policy-denied")
CLEARTEXT = Verdict.error(Condition.POLICY_VIOLATION, "policy-encryption-required")
NOT_PINNED = Verdict.error(Condition.NOT_AUTHORIZED, "policy-pin-mismatch")
DENY = {"action": Action.DENY}
ENCRYPT = {"require_encryption": True}
WANTED = Verdict.error(Condition.NOT_AUTHORIZED, "certificate-wanted")
PINNED = {"pins": frozenset({PIN, "0" * 64})}
LATER = {"certificate_on_demand": True}

CASES: list[tuple[str, dict[str, Any], Check | Issue, Verdict | None]] = [
    ("no demand, check", {}, check(), None),
    ("no demand, issue", {}, issue(), None),
    ("denied, check", DENY, check(encrypted=True, certificates=(GOOD,)), DENIED),
    ("denied, issue", DENY, issue(encrypted=True, certificate=GOOD), DENIED),
    ("encryption, check on cleartext", ENCRYPT, check(), CLEARTEXT),
    ("encryption, check in TLS", ENCRYPT, check(encrypted=True), None),
    ("encryption, issue on cleartext", ENCRYPT, issue(), CLEARTEXT),
    ("encryption, issue in TLS", ENCRYPT, issue(encrypted=True), None),
    ("pin, check on cleartext", PINNED, check(), CLEARTEXT),
    ("pin, check, the right one", PINNED, check(encrypted=True, certificates=(GOOD,)), None),
    ("pin, check, another", PINNED, check(encrypted=True, certificates=(OTHER,)), NOT_PINNED),
    ("pin, check, right one above", PINNED, check(encrypted=True, certificates=(OTHER, GOOD)),
     NOT_PINNED),
    ("pin, check, garbage", PINNED, check(encrypted=True, certificates=(b"\x30\x00",)), NOT_PINNED),
    ("pin, check, none shown", PINNED, check(encrypted=True), None),
    ("pin, issue on cleartext", PINNED, issue(certificate=GOOD), CLEARTEXT),
    ("pin, issue, the right one", PINNED, issue(encrypted=True, certificate=GOOD), None),
    ("pin, issue, another", PINNED, issue(encrypted=True, certificate=OTHER), NOT_PINNED),
    ("pin, issue, none shown", PINNED, issue(encrypted=True), NOT_PINNED),
    ("pin, issue, left out", PINNED, issue(encrypted=True, **LATER), WANTED),
    ("pin, issue, left out on cleartext", PINNED, issue(**LATER), CLEARTEXT),
    ("pin, issue, another though left out", PINNED,
     issue(encrypted=True, certificate=OTHER, **LATER), NOT_PINNED),
    ("no pin, issue, left out", ENCRYPT, issue(encrypted=True, **LATER), None),
    ("denied, issue, left out", DENY, issue(encrypted=True, **LATER), DENIED),
    ("evidence is not about issue", {"evidence": frozenset({Evidence.CERTIFICATE})}, issue(), None),
    ("evidence is the checker's", {"evidence": frozenset({Evidence.CERTIFICATE})}, check(), None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "job", "verdict"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_what_is_refused(
    parts: dict[str, Any], job: Check | Issue, verdict: Verdict | None
) -> None:
    terms = terms_of(rule("*.example", **parts), ALL)
    refusal = refuse_check(terms, job) if isinstance(job, Check) else refuse_issue(terms, job)
    assert refusal == verdict
    assert refusal is None or refusal.outcome is Outcome.ERROR


def test_refusal_of_a_pin_says_which_key_was_shown() -> None:
    refusal = refuse_issue(
        terms_of(rule("*", **PINNED), ALL), issue(encrypted=True, certificate=OTHER)
    )
    assert refusal is not None
    assert refusal.detail == f"its key is {pin_of(OTHER)}"


def test_evidence_of_a_rule_stands_in_place_of_the_configuration() -> None:
    config = frozenset({Evidence.CERTIFICATE})
    assert terms_of(rule("*"), config).evidence == config
    own = frozenset({Evidence.KEY})
    assert terms_of(rule("*", evidence=own), config).evidence == own


def test_terms_name_the_rule_they_come_from() -> None:
    assert Terms().rule is None
    assert terms_of(rule("*.example.net"), ALL).rule == "*.example.net"
