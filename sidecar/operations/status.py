"""How the daemon is."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Literal

import sidecar
from sidecar.keys.messages import GetStatus
from sidecar.keys.messages import Status as KeydStatus
from sidecar.keys.scopes import Scope
from sidecar.operations.caller import Call
from sidecar.operations.fields import Nothing, Output, Time, at, at_if
from sidecar.operations.operation import Operation
from sidecar.operations.parts import AuthorityFacts, LinkFacts, Parts


class LinkStatus(Output, frozen=True):
    """A component link. `fault` and `fault_text` say why it was down last, with what to do."""

    jid: str
    phase: Literal["connecting", "connected", "waiting", "stopped"]
    since: Time
    fault: str | None
    fault_text: str | None
    connects: int
    in_work: int
    domains: list[str]


class AuthorityStatus(Output, frozen=True):
    """The authority listener: where it listens, for which sender domains, and what it has seen."""

    listens: list[str]
    domains: list[str]
    connections: int
    counts: dict[str, int]


class AlarmStatus(Output, frozen=True):
    code: str
    subject: str
    text: str
    count: int
    first: Time
    last: Time


class KeyServiceStatus(Output, frozen=True):
    """dialback-keyd. `isolated`: it runs by itself, not as a child under the daemon's user.

    `judged` counts verdicts since its start by reason, or `valid`.
    """

    isolated: bool
    store_id: str
    domains: int
    versions: int
    stateless_versions: int
    live_keys: int
    judged: dict[str, int]
    next_rotation: Time | None
    kek_id: str
    rewrapping: bool
    memory_locked: bool
    alarms: list[AlarmStatus]


class HistoryStatus(Output, frozen=True):
    """`handshakes` is null when it cannot be read, `fault` why it cannot be written now, `lost` the
    handshakes that were not."""

    enabled: bool
    handshakes: int | None
    lost: int
    fault: str | None


class DaemonStatus(Output, frozen=True):
    """`ready`: handshakes are being answered on every link. `authority` null: no listener."""

    version: str
    started: Time
    ready: bool
    links: list[LinkStatus]
    authority: AuthorityStatus | None
    key_service: KeyServiceStatus
    history: HistoryStatus
    warnings: list[str]


async def _status(parts: Parts, call: Call, _: Nothing) -> DaemonStatus:
    found = await parts.ask_keys(call, GetStatus())
    assert isinstance(found, KeydStatus)
    daemon = parts.daemon
    links = [_link(link) for link in daemon.link_facts()]
    history = HistoryStatus(
        enabled=parts.handshakes.enabled,
        handshakes=_count(parts),
        lost=parts.handshakes.lost,
        fault=parts.handshakes.fault or None,
    )
    return DaemonStatus(
        version=sidecar.__version__,
        started=at(daemon.started_ms),
        ready=all(link.phase == "connected" for link in links) and not parts.peer_rules.fault,
        links=links,
        authority=_authority(daemon.authority_facts()),
        key_service=key_service_status(found, isolated=not daemon.key_service_is_child),
        history=history,
        warnings=_warnings(parts, found),
    )


def _count(parts: Parts) -> int | None:
    try:
        return parts.handshakes.count()
    except sqlite3.Error:
        return None


def _warnings(parts: Parts, keyd: KeydStatus) -> list[str]:
    warnings = []
    if parts.handshakes.fault:
        warnings.append(f"the history of handshakes has a gap: {parts.handshakes.fault}")
    if parts.daemon.key_service_is_child:
        warnings.append(
            "the key service runs under the daemon's own user, which isolates nothing: "
            "run it by itself and set keyd.socket"
        )
    warnings += key_service_warnings(keyd)
    if parts.peer_rules.fault:
        warnings.append(
            "the rules about peers cannot be read, so no peer is let in and no key is issued: "
            f"{parts.peer_rules.fault}"
        )
    warnings += [f"the admin API does not listen on {place}" for place in parts.daemon.api_failed]
    return warnings


def key_service_warnings(found: KeydStatus) -> list[str]:
    """What an operator should know of the key service, besides its alarms."""
    if not found.stateless_versions:
        return []
    return [
        "secrets that were imported are trusted without the ledger, and whoever knows one can "
        f"forge keys: {found.stateless_versions}"
    ]


def _link(link: LinkFacts) -> LinkStatus:
    return LinkStatus(
        jid=link.jid,
        phase=link.phase,  # type: ignore[arg-type] # the words of Phase
        since=datetime.fromtimestamp(link.since_seconds, UTC),
        fault=link.fault or None,
        fault_text=link.fault_text or None,
        connects=link.connects,
        in_work=link.in_work,
        domains=list(link.domains),
    )


def _authority(found: AuthorityFacts | None) -> AuthorityStatus | None:
    if found is None:
        return None
    return AuthorityStatus(
        listens=list(found.places),
        domains=list(found.domains),
        connections=found.connections,
        counts=dict(sorted(found.counts.items())),
    )


def key_service_status(found: KeydStatus, *, isolated: bool) -> KeyServiceStatus:
    """What the key service says of itself, for operators."""
    return KeyServiceStatus(
        isolated=isolated,
        store_id=found.store_id,
        domains=found.domains,
        versions=found.versions,
        stateless_versions=found.stateless_versions,
        live_keys=found.live_keys,
        judged=dict(sorted(found.judged.items())),
        next_rotation=at_if(found.next_rotation_ms),
        kek_id=found.kek_id,
        rewrapping=found.rewrapping,
        memory_locked=found.memory_locked,
        alarms=[
            AlarmStatus(
                code=alarm.code,
                subject=alarm.subject,
                text=alarm.text,
                count=alarm.count,
                first=at(alarm.first_ms),
                last=at(alarm.last_ms),
            )
            for alarm in found.alarms
        ],
    )


OPERATIONS = (
    Operation(
        name="status",
        summary="Show how the daemon, its links and the key service are",
        scope=Scope.STATUS_READ,
        input=Nothing,
        output=DaemonStatus,
        handler=_status,
        for_all_domains=True,
    ),
)
