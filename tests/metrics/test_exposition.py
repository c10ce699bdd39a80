"""What Prometheus reads: every series that is promised, explained, bounded and well formed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from test_metrics import INCOMING, NOW, OUTGOING, PEER, STREAM, decide

from sidecar.engine import Decision
from sidecar.jobs import Condition, Evidence, ReportedOutcome, Role, Verdict
from sidecar.metrics import Metrics
from sidecar.names import Domain, DomainPair, StreamId

ALERTS = Path(__file__).parents[2] / "contrib" / "prometheus" / "alerts.yml"
PROMISED = {
    "dialback_keys_issued": {"host", "result", "reason"},
    "dialback_keys_verified": {"host", "result", "reason"},
    "dialback_checks": {"host", "result", "evidence", "condition"},
    "dialback_authentications": {"host", "direction", "mechanism", "result"},
    "dialback_key_service_seconds": {"operation"},
    "dialback_check_seconds": {"result"},
    "dialback_dns_lookup_seconds": {"type", "result"},
    "dialback_secret_created_timestamp_seconds": {"host"},
    "dialback_secret_next_rotation_timestamp_seconds": {"host"},
    "dialback_link_up": {"link"},
    "dialback_link_connects": {"link"},
}


@pytest.fixture
def exposition() -> str:
    metrics = Metrics(lambda: NOW)
    for job in ("issue", "verify"):
        decide(metrics, job, Verdict.valid())
        decide(metrics, job, Verdict.error(Condition.INTERNAL_SERVER_ERROR, "outage"))
    decide(metrics, "check", Verdict.valid(Evidence.KEY))
    for role, pair in ((Role.INITIATING, OUTGOING), (Role.RECEIVING, INCOMING)):
        metrics.note_report(
            ReportedOutcome(role=role, mechanism="external", pair=pair, stream=STREAM, type="valid")
        )
    metrics.note_lookup("SRV", "found", 0.01)
    return metrics.exposition().decode()


def test_every_promised_series_has_its_labels(exposition: str) -> None:
    labels = {
        family.name: set(family.samples[0].labels) - {"le"}
        for family in text_string_to_metric_families(exposition)
        if family.samples
    }
    assert {name: labels.get(name) for name in PROMISED} == PROMISED


def test_every_family_is_explained_and_typed(exposition: str) -> None:
    for family in text_string_to_metric_families(exposition):
        assert family.documentation and family.documentation[0].isupper(), family.name
        assert family.type in ("counter", "gauge", "histogram"), family.name


def test_names_and_units_are_those_of_prometheus(exposition: str) -> None:
    """As `promtool check metrics` wants them: base units, counters in _total, no unit twice."""
    for family in text_string_to_metric_families(exposition):
        assert re.fullmatch(r"dialback_[a-z]+(_[a-z]+)*", family.name)
        assert not re.search(r"_(milliseconds|ms|minutes|total|count|sum|bucket)\Z", family.name)
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
            assert "+Inf" in {sample.labels.get("le") for sample in family.samples}


def test_peers_choose_no_label() -> None:
    """A thousand of them: as many series as one makes."""

    def series(peers: int) -> int:
        metrics = Metrics()
        for number in range(peers):
            peer = Domain(f"p{number}.example")
            for job, pair in (
                ("issue", DomainPair(sender=OUTGOING.sender, target=peer)),
                ("verify", DomainPair(sender=OUTGOING.sender, target=peer)),
                ("check", DomainPair(sender=peer, target=OUTGOING.sender)),
            ):
                stream = StreamId(f"S{number}")
                metrics.note_decision(Decision(job, pair, stream, Verdict.valid(), 0.001))
        return len(metrics.exposition().splitlines())

    assert series(1000) == series(1)


def test_alert_rules_are_whole_and_no_alert_is_about_a_peer() -> None:
    text = ALERTS.read_text()
    rules = re.split(r"^      - alert: ", text, flags=re.MULTILINE)[1:]
    assert len(rules) >= 8
    for rule in rules:
        name = rule.split()[0]
        expression = re.search(r"expr: (\|\n(?:          .*\n)+|.*\n)", rule)
        assert expression, name
        assert expression[1].count("(") == expression[1].count(")"), name
        assert "severity: " in rule and "summary: " in rule, name
        for label in re.findall(r"\$labels\.(\w+)", rule):
            assert label in ("instance", "host", "link", "code"), f"{name}: {label}"
        for label in re.findall(r"[{,](\w+)=~?", expression[1]):
            assert label in {"job", *set().union(*PROMISED.values()), "code"}, f"{name}: {label}"
    assert PEER not in text
