"""What is not counted but looked at when Prometheus asks: links, key service, secrets, alarms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class LinkSample:
    """One component link. `requests` counts by kind: `issue`, ..., `refused`, `expired`."""

    link: str
    up: bool
    connects: int
    requests: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class AuthoritySample:
    """The authority listener. `counts` by kind: `connections`, `turned-away`, ..."""

    connections: int
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SecretSample:
    """The ACTIVE version of one sender domain; times in seconds since 1970."""

    host: str
    created_seconds: float
    next_rotation_seconds: float | None
    retired: int
    stateless: int


@dataclass(frozen=True, slots=True)
class AlarmSample:
    """How often the key service raised alarms of one code."""

    code: str
    count: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything of one moment. `live_keys` is None while the key service does not say."""

    links: Sequence[LinkSample] = ()
    authority: AuthoritySample | None = None
    key_service_up: bool = False
    peer_rules_up: bool = False
    history_lost: int = 0
    secrets: Sequence[SecretSample] = ()
    live_keys: int | None = None
    alarms: Sequence[AlarmSample] = ()


class SnapshotCollector(Collector):
    """Turns a snapshot into time series."""

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        self._take = take

    def collect(self) -> Iterator[Metric]:
        now = self._take()
        yield _gauge(
            "dialback_link_up",
            "Whether the component link to a server is up",
            "link",
            ((each.link, float(each.up)) for each in now.links),
        )
        yield _counter(
            "dialback_link_connects",
            "Connections made to a server's component port",
            ("link",),
            (((each.link,), each.connects) for each in now.links),
        )
        yield _counter(
            "dialback_link_requests",
            "What came over a component link, by kind",
            ("link", "kind"),
            (
                ((each.link, kind), count)
                for each in now.links
                for kind, count in sorted(each.requests.items())
            ),
        )
        if now.authority is not None:
            yield GaugeMetricFamily(
                "dialback_authority_connections",
                "Connections of other servers to the authority listener",
                value=now.authority.connections,
            )
            yield _counter(
                "dialback_authority_events",
                "What happened at the authority listener, by kind",
                ("kind",),
                (((kind,), count) for kind, count in sorted(now.authority.counts.items())),
            )
        yield GaugeMetricFamily(
            "dialback_key_service_up",
            "Whether the key service is connected",
            value=float(now.key_service_up),
        )
        yield GaugeMetricFamily(
            "dialback_peer_rules_up",
            "Whether the rules about peers could be read",
            value=float(now.peer_rules_up),
        )
        yield CounterMetricFamily(
            "dialback_history_lost",
            "Handshakes that the history could not keep",
            value=now.history_lost,
        )
        if now.live_keys is not None:
            yield GaugeMetricFamily(
                "dialback_live_keys", "Issued keys in the ledger", value=now.live_keys
            )
        yield from _secrets(now.secrets)
        yield _counter(
            "dialback_alarms",
            "Alarms of the key service, by code",
            ("code",),
            (((each.code,), each.count) for each in now.alarms),
        )


def _secrets(secrets: Sequence[SecretSample]) -> Iterator[Metric]:
    yield _gauge(
        "dialback_secret_created_timestamp_seconds",
        "When the secret that issues for a sender domain was made",
        "host",
        ((each.host, each.created_seconds) for each in secrets),
    )
    yield _gauge(
        "dialback_secret_next_rotation_timestamp_seconds",
        "When that secret is to be replaced",
        "host",
        (
            (each.host, each.next_rotation_seconds)
            for each in secrets
            if each.next_rotation_seconds is not None
        ),
    )
    yield _gauge(
        "dialback_secret_retired_versions",
        "Versions that wait for their last key to expire",
        "host",
        ((each.host, float(each.retired)) for each in secrets),
    )
    yield _gauge(
        "dialback_secret_stateless_versions",
        "Imported secrets that are trusted without the ledger",
        "host",
        ((each.host, float(each.stateless)) for each in secrets if each.stateless),
    )


def _gauge(name: str, text: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for value, number in values:
        family.add_metric((value,), number)
    return family


def _counter(
    name: str,
    text: str,
    labels: Sequence[str],
    values: Iterable[tuple[tuple[str, ...], int]],
) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for value, number in values:
        family.add_metric(value, number)
    return family
