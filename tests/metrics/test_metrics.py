"""Prometheus sees what was decided, by our own domains only."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from sidecar.engine import Decision, Verified
from sidecar.jobs import Condition, Evidence, ReportedOutcome, Role, Verdict, Verify
from sidecar.metrics import (
    AlarmSample,
    AuthoritySample,
    LinkSample,
    Metrics,
    SecretSample,
    Snapshot,
)
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId

OURS, PEER = Domain("capulet.example"), Domain("montague.example")
OUTGOING = DomainPair(sender=OURS, target=PEER)
INCOMING = DomainPair(sender=PEER, target=OURS)
STREAM = StreamId("D60000229F")


def series(exposition: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return series(metrics.exposition()).get((name, frozenset(labels.items())))


def decide(metrics: Metrics, job: str, verdict: Verdict) -> None:
    pair = INCOMING if job == "check" else OUTGOING
    metrics.note_decision(Decision(job, pair, STREAM, verdict, 0.004))


def test_keys_are_counted_by_our_domain_result_and_reason() -> None:
    metrics = Metrics()
    decide(metrics, "issue", Verdict.valid())
    decide(metrics, "verify", Verdict.valid())
    decide(metrics, "verify", Verdict.invalid("key-replayed"))
    host = {"host": OURS}
    assert value(metrics, "dialback_keys_issued_total", **host, result="valid", reason="") == 1
    assert value(metrics, "dialback_keys_verified_total", **host, result="valid", reason="") == 1
    replayed = {"result": "invalid", "reason": "key-replayed"}
    assert value(metrics, "dialback_keys_verified_total", **host, **replayed) == 1
    assert value(metrics, "dialback_key_service_seconds_count", operation="verify") == 2


def test_keys_verified_together_are_counted_each_and_the_question_once() -> None:
    metrics = Metrics()
    other = DomainPair(sender=Domain("rooms.capulet.example"), target=PEER)
    questions = [
        Verify(pair=pair, stream=STREAM, key=DialbackKey("b483"))
        for pair in (OUTGOING, OUTGOING, other, OUTGOING)
    ]
    valid, wrong = Verdict.valid(), Verdict.invalid("key-wrong")
    metrics.note_verified(Verified(questions, [valid, valid, valid, wrong], 0.004))
    counted = "dialback_keys_verified_total"
    assert value(metrics, counted, host=OURS, result="valid", reason="") == 2
    assert value(metrics, counted, host=other.sender, result="valid", reason="") == 1
    assert value(metrics, counted, host=OURS, result="invalid", reason="key-wrong") == 1
    assert value(metrics, "dialback_key_service_seconds_count", operation="verify") == 1


def test_checks_are_counted_by_evidence_and_condition() -> None:
    metrics = Metrics()
    decide(metrics, "check", Verdict.valid(Evidence.KEY))
    decide(metrics, "check", Verdict.error(Condition.REMOTE_SERVER_TIMEOUT, "connect-timeout"))
    valid = {"result": "valid", "evidence": "key", "condition": ""}
    failed = {"result": "error", "evidence": "", "condition": "remote-server-timeout"}
    assert value(metrics, "dialback_checks_total", host=OURS, **valid) == 1
    assert value(metrics, "dialback_checks_total", host=OURS, **failed) == 1
    assert value(metrics, "dialback_check_seconds_count", result="valid") == 1


def test_reports_have_the_labels_of_prosody() -> None:
    metrics = Metrics()
    for role, pair in ((Role.INITIATING, OUTGOING), (Role.RECEIVING, INCOMING)):
        metrics.note_report(
            ReportedOutcome(role=role, mechanism="dialback", pair=pair, stream=STREAM, type="valid")
        )
    for direction in ("outgoing", "incoming"):
        labels = {"direction": direction, "mechanism": "dialback", "result": "valid"}
        assert value(metrics, "dialback_authentications_total", host=OURS, **labels) == 1


def test_no_remote_domain_is_in_any_label() -> None:
    metrics = Metrics()
    for job in ("issue", "verify", "check"):
        decide(metrics, job, Verdict.valid())
    for role, pair in ((Role.AUTHORITATIVE, OUTGOING), (Role.RECEIVING, INCOMING)):
        metrics.note_report(
            ReportedOutcome(role=role, mechanism="dialback", pair=pair, stream=STREAM, type="valid")
        )
    assert PEER.encode() not in metrics.exposition()
    assert OURS.encode() in metrics.exposition()


def test_dns_lookups_are_timed_by_result() -> None:
    metrics = Metrics()
    metrics.note_lookup("SRV", "found", 0.01)
    assert value(metrics, "dialback_dns_lookup_seconds_count", type="SRV", result="found") == 1


NOW = Snapshot(
    links=[LinkSample("dialback.capulet.example", True, 3, {"issue": 7, "refused": 1})],
    key_service_up=True,
    peer_rules_up=True,
    history_lost=2,
    secrets=[SecretSample(OURS, 1000.0, 87400.0, 1, 0), SecretSample("b.example", 5.0, None, 0, 2)],
    live_keys=12,
    alarms=[AlarmSample("key-never-issued", 4)],
    authority=AuthoritySample(5, {"turned-away": 6}),
)


def test_links_secrets_and_alarms_are_looked_at_when_asked() -> None:
    metrics = Metrics(lambda: NOW)
    link = {"link": "dialback.capulet.example"}
    assert value(metrics, "dialback_link_up", **link) == 1
    assert value(metrics, "dialback_link_connects_total", **link) == 3
    assert value(metrics, "dialback_link_requests_total", **link, kind="refused") == 1
    assert value(metrics, "dialback_key_service_up") == 1
    assert value(metrics, "dialback_peer_rules_up") == 1
    assert value(metrics, "dialback_history_lost_total") == 2
    assert value(metrics, "dialback_live_keys") == 12
    created = value(metrics, "dialback_secret_created_timestamp_seconds", host=OURS)
    assert created == 1000
    rotation = value(metrics, "dialback_secret_next_rotation_timestamp_seconds", host=OURS)
    assert rotation == 87400
    assert value(metrics, "dialback_secret_stateless_versions", host="b.example") == 2
    assert value(metrics, "dialback_alarms_total", code="key-never-issued") == 4
    assert value(metrics, "dialback_authority_connections") == 5
    assert value(metrics, "dialback_authority_events_total", kind="turned-away") == 6


def test_key_service_that_says_nothing_has_no_live_keys() -> None:
    metrics = Metrics()
    assert value(metrics, "dialback_live_keys") is None
    assert value(metrics, "dialback_key_service_up") == 0


def test_restriction_to_a_domain_shows_nothing_else() -> None:
    metrics = Metrics(lambda: NOW)
    decide(metrics, "issue", Verdict.valid())
    seen = series(metrics.exposition([OURS]))
    assert seen
    assert all(("host", str(OURS)) in labels for _, labels in seen)
