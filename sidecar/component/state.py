"""What can be seen of a link from outside: a value for status and metrics."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.component.faults import Fault
from sidecar.names import Domain


class Phase(enum.Enum):
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class LinkState:
    """A link at one moment.

    `since_seconds` is when `phase` began, `connected_since_seconds` set only while connected,
    both Unix times. `last_fault` stays after a reconnect. `counts` are since the start:
    `issue`, `verify`, `check`, `report` admitted; `refused`, `dropped`, `expired`, `overload`,
    `connects`, `pong`.
    """

    jid: Domain
    phase: Phase
    since_seconds: float
    connected_since_seconds: float | None
    last_fault: Fault | None
    in_work: int
    counts: Mapping[str, int]
