"""SRV records put into the order in which to try them (RFC 2782, RFC 6120 §3.2, XEP-0368)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

MAX_TARGETS = 8


@dataclass(frozen=True, slots=True)
class SrvRecord:
    """One record; `direct_tls` says that it stood under `_xmpps-server`."""

    priority: int
    weight: int
    port: int
    target: str
    direct_tls: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """Where a domain's server may be: a name to look up, never an address."""

    name: str
    port: int
    direct_tls: bool = False


def order(records: Iterable[SrvRecord], random: Callable[[], float]) -> tuple[Target, ...]:
    """Return the targets in order, at most MAX_TARGETS. `random()` is in [0, 1).

    Both services are merged by priority and weight (XEP-0368 §3).
    """
    by_priority: dict[int, list[SrvRecord]] = {}
    for record in records:
        by_priority.setdefault(record.priority, []).append(record)
    ordered: list[Target] = []
    for priority in sorted(by_priority):
        for record in _by_weight(by_priority[priority], random):
            target = Target(record.target, record.port, record.direct_tls)
            if target not in ordered:
                ordered.append(target)
    return tuple(ordered[:MAX_TARGETS])


def _by_weight(records: Sequence[SrvRecord], random: Callable[[], float]) -> list[SrvRecord]:
    """RFC 2782, "Weight": zero weights first, then by running sum."""
    if len(records) == 1:
        return list(records)
    left = sorted(records, key=lambda record: record.weight)
    chosen: list[SrvRecord] = []
    while left:
        mark = int(random() * (sum(record.weight for record in left) + 1))
        for place, record in enumerate(left):
            mark -= record.weight
            if mark <= 0:
                chosen.append(left.pop(place))
                break
    return chosen
