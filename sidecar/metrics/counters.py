"""Counted as it happens: keys issued and verified, checks, outcomes reported, DNS lookups."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Collection

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.registry import Collector

from sidecar.engine import Decision, Verified
from sidecar.jobs import ReportedOutcome, Role
from sidecar.metrics.snapshot import Snapshot, SnapshotCollector
from sidecar.metrics.visible import keep_visible

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# A key takes about a millisecond, a check as long as the farthest server.
_QUICK_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 3.0)
_SLOW_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 12.0)
_Counters = tuple[Callable[[float], None], Callable[[float], None]]
"""Count so many, observe so many seconds."""


class Metrics:
    """Every time series of one daemon. `snapshot` says at scrape time what is not counted."""

    def __init__(self, snapshot: Callable[[], Snapshot] = Snapshot) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a line each, read by nobody
        self._registry = CollectorRegistry()
        made = self._registry
        self._issued = Counter(
            "dialback_keys_issued",
            "Dialback keys asked for by our own servers",
            ("host", "result", "reason"),
            registry=made,
        )
        self._verified = Counter(
            "dialback_keys_verified",
            "Questions of peers whether a key is ours",
            ("host", "result", "reason"),
            registry=made,
        )
        self._checks = Counter(
            "dialback_checks",
            "Checks of peers that presented a key to our servers",
            ("host", "result", "evidence", "condition"),
            registry=made,
        )
        self._reported = Counter(
            "dialback_authentications",
            "Outcomes that our servers reported, of each domain pair",
            ("host", "direction", "mechanism", "result"),
            registry=made,
        )
        self._key_seconds = Histogram(
            "dialback_key_service_seconds",
            "Time the key service took to issue or verify a key",
            ("operation",),
            registry=made,
            buckets=_QUICK_SECONDS,
        )
        self._check_seconds = Histogram(
            "dialback_check_seconds",
            "Time a check took, from DNS to the answer",
            ("result",),
            registry=made,
            buckets=_SLOW_SECONDS,
        )
        self._dns_seconds = Histogram(
            "dialback_dns_lookup_seconds",
            "Time of DNS lookups by their result",
            ("type", "result"),
            registry=made,
            buckets=_SLOW_SECONDS,
        )
        snapshots: Collector = SnapshotCollector(snapshot)
        made.register(snapshots)
        self._children: dict[tuple[str, ...], _Counters] = {}
        self._report_children: dict[tuple[str, ...], Callable[[], None]] = {}
        self._lookup_children: dict[tuple[str, str], Callable[[float], None]] = {}

    def note_decision(self, decision: Decision) -> None:
        """Count one job answered."""
        said = decision.verdict
        condition = said.condition.value if said.condition else ""
        evidence = said.evidence.value if said.evidence else ""
        host = str(decision.pair.target if decision.job == "check" else decision.pair.sender)
        key = (decision.job, host, said.outcome.value, said.reason or "", evidence, condition)
        count, observe = self._child(key)
        count(1)
        observe(decision.seconds)

    def note_verified(self, verified: Verified) -> None:
        """Count verify requests answered together; the key service was asked once."""
        hosts = [question.pair.sender for question in verified.asked]
        by_id = {id(verdict): verdict for verdict in verified.verdicts}
        counted = Tally(zip(hosts, map(id, verified.verdicts), strict=True))
        for (host, which), count in counted.items():
            said = by_id[which]
            condition = said.condition.value if said.condition else ""
            key = ("verify", str(host), said.outcome.value, said.reason or "", "", condition)
            self._child(key)[0](count)
        self._key_seconds.labels("verify").observe(verified.seconds)

    def note_report(self, reported: ReportedOutcome) -> None:
        """Count what one of our servers learnt."""
        incoming = reported.role is Role.RECEIVING
        host = reported.pair.target if incoming else reported.pair.sender
        direction = "incoming" if incoming else "outgoing"
        key = (str(host), direction, reported.mechanism, reported.type)
        count = self._report_children.get(key)
        if count is None:
            count = self._report_children[key] = self._reported.labels(*key).inc
        count()

    def note_lookup(self, record_type: str, result: str, seconds: float) -> None:
        """Count one DNS lookup; `result` is `found`, `none` or a reason code."""
        observe = self._lookup_children.get((record_type, result))
        if observe is None:
            observe = self._dns_seconds.labels(record_type, result).observe
            self._lookup_children[record_type, result] = observe
        observe(seconds)

    def exposition(self, hosts: Collection[str] | None = None) -> bytes:
        """Return all of it as text; with `hosts`, no time series of other domains of ours."""
        text = generate_latest(self._registry)
        return text if hosts is None else keep_visible(text, frozenset(hosts))

    def _child(self, key: tuple[str, str, str, str, str, str]) -> _Counters:
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._make(*key)
        return child

    def _make(
        self, job: str, host: str, result: str, reason: str, evidence: str, condition: str
    ) -> _Counters:
        if job == "check":
            checks = self._checks.labels(host, result, evidence, condition)
            return checks.inc, self._check_seconds.labels(result).observe
        family = self._issued if job == "issue" else self._verified
        return family.labels(host, result, reason).inc, self._key_seconds.labels(job).observe
