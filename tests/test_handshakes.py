"""One record for each handshake, put together from decisions and reports."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.engine import Decision
from sidecar.handshakes import HandshakeRecord, TraceStep, of_decision, of_report
from sidecar.jobs import Condition, Evidence, Outcome, ReportedOutcome, Role, Step, Verdict
from sidecar.names import Domain, DomainPair, StreamId

PAIR = DomainPair(sender=Domain("capulet.example"), target=Domain("montague.example"))
STREAM = StreamId("D60000229F")
REMOTE = Verdict.error(Condition.REMOTE_CONNECTION_FAILED, "connection-refused")


def decided(job: str, verdict: Verdict | None = None) -> HandshakeRecord:
    decision = Decision(job, PAIR, STREAM, verdict or Verdict.valid(), 0.25)
    return of_decision(decision, 10_000)


def reported(role: Role, type: str, mechanism: str = "dialback") -> HandshakeRecord:
    outcome = ReportedOutcome(role=role, mechanism=mechanism, pair=PAIR, stream=STREAM, type=type)
    return of_report(outcome, 11_000)


def together(*told: HandshakeRecord) -> HandshakeRecord:
    record = told[0]
    for later in told[1:]:
        assert later.key == record.key
        record.add(later)
    return record


def test_issue_verify_and_report_are_one_outgoing_handshake() -> None:
    record = together(
        decided("issue"), decided("verify"), reported(Role.INITIATING, Outcome.VALID.value)
    )
    assert record.role == "initiating"
    assert (record.local, record.peer) == ("capulet.example", "montague.example")
    assert (record.outcome, record.reported) == ("valid", "valid")
    assert (record.started_ms, record.updated_ms) == (9_750, 11_000)
    assert (record.issue_us, record.verify_us, record.check_us) == (250_000, 250_000, None)


def test_key_that_nobody_asked_about_stays_issued() -> None:
    assert together(decided("issue")).outcome == "issued"
    assert together(decided("issue"), reported(Role.INITIATING, "closed")).outcome == "issued"


def test_verify_without_issue_is_the_authoritative_role() -> None:
    record = decided("verify", Verdict.invalid("key-never-issued"))
    assert (record.role, record.outcome, record.reason) == (
        "authoritative",
        "invalid",
        "key-never-issued",
    )
    assert not record.incoming


def test_check_and_report_are_one_incoming_handshake() -> None:
    record = together(
        decided("check", Verdict.valid(Evidence.KEY)), reported(Role.RECEIVING, "valid")
    )
    assert (record.local, record.peer) == ("montague.example", "capulet.example")
    assert (record.outcome, record.evidence) == ("valid", "key")


def test_check_that_failed_keeps_its_reason_when_the_server_reports_the_same() -> None:
    record = together(decided("check", REMOTE), reported(Role.RECEIVING, "error"))
    assert (record.condition, record.reason) == ("remote-connection-failed", "connection-refused")


def test_check_keeps_its_steps() -> None:
    steps = (Step("dns", 0.0, 0.0121), Step("connect", 0.0121, 1.0, "192.0.2.1", "refused"))
    record = decided("check", replace(REMOTE, steps=steps))
    assert record.steps == [
        TraceStep("dns", 0.0, 12.1),
        TraceStep("connect", 12.1, 1000.0, "refused", "192.0.2.1"),
    ]
    assert together(record, reported(Role.RECEIVING, "error")).steps == record.steps
    assert decided("verify").steps == []


def test_retry_that_succeeds_leaves_nothing_of_the_error() -> None:
    record = together(decided("check", REMOTE), decided("check", Verdict.valid(Evidence.KEY)))
    assert (record.outcome, record.condition, record.reason) == ("valid", None, None)


@pytest.mark.parametrize(
    "before",
    [decided("verify"), reported(Role.INITIATING, "valid")],
    ids=["verified", "reported"],
)
def test_wrong_key_or_replay_does_not_take_back_that_a_handshake_was_valid(
    before: HandshakeRecord,
) -> None:
    forged = decided("verify", Verdict.invalid("key-wrong"))
    record = together(decided("issue"), before, forged)
    assert (record.outcome, record.reason) == ("valid", None)


def test_right_key_after_a_wrong_one_makes_the_handshake_valid() -> None:
    forged = decided("verify", Verdict.invalid("key-wrong"))
    record = together(decided("issue"), forged, decided("verify"))
    assert (record.outcome, record.reason) == ("valid", None)


def test_report_overrules_what_we_said_of_the_key() -> None:
    record = together(decided("verify"), reported(Role.INITIATING, "error"))
    assert (record.outcome, record.reported, record.role) == ("error", "error", "initiating")


@pytest.mark.parametrize("first", ["valid", "invalid", "error"])
def test_key_issued_again_does_not_take_back_a_decision(first: str) -> None:
    record = together(reported(Role.INITIATING, first), decided("issue"))
    assert record.outcome == first


def test_handshake_by_certificate_keeps_its_mechanism() -> None:
    record = reported(Role.RECEIVING, "valid", "external")
    assert (record.mechanism, record.outcome) == ("external", "valid")


def test_why_external_did_not_do_and_what_the_certificate_lacks_are_kept() -> None:
    flawed = Step("certificate", 0.0, 0.001, "", "certificate-self-signed")
    verdict = replace(Verdict.valid(Evidence.KEY), steps=(flawed, Step("room", 0.1, 0.1)))
    decision = Decision("check", PAIR, STREAM, verdict, 0.25, "not-offered")
    record = together(of_decision(decision, 10_000), reported(Role.RECEIVING, "valid"))
    assert (record.external, record.certificate) == ("not-offered", "certificate-self-signed")
    proven = replace(verdict, steps=(replace(flawed, reason=None),))
    assert of_decision(replace(decision, verdict=proven), 1).certificate == "valid"


def test_end_of_a_stream_does_not_hide_what_was_reported_before() -> None:
    record = together(reported(Role.INITIATING, "valid"), reported(Role.INITIATING, "closed"))
    assert (record.outcome, record.reported) == ("valid", "valid")
