"""Looks at links and key service now and then: for metrics, and to tell what changed as events."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from msgspec import Struct

from sidecar.errors import KeyServiceUnavailable
from sidecar.key_client import KeyClient
from sidecar.keys.messages import (
    Alarm,
    GetStatus,
    ListedVersion,
    ListVersions,
    Status,
    VersionList,
)
from sidecar.metrics import AlarmSample, SecretSample
from sidecar.operations.events import Events
from sidecar.operations.parts import LinkFacts
from sidecar.operations.secrets import SecretChange

log = logging.getLogger(__name__)

_LINK_SECONDS = 1.0
_KEYD_SECONDS = 15.0
_ASK_SECONDS = 5.0


class LinkChange(Struct, frozen=True):
    """An event: a component link came up or went down."""

    link: str
    phase: str
    fault_text: str


class AlarmRaised(Struct, frozen=True):
    """An event: the key service raised an alarm, now for the `count`-th time."""

    code: str
    subject: str
    text: str
    count: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What the key service said last."""

    secrets: Sequence[SecretSample] = ()
    live_keys: int | None = None
    alarms: Sequence[AlarmSample] = ()


class Watching:
    """Two tasks. What the key service does not answer is left as unknown."""

    def __init__(
        self, keys: KeyClient, links: Callable[[], Sequence[LinkFacts]], events: Events
    ) -> None:
        self._keys = keys
        self._links = links
        self._events = events
        self._tasks: list[asyncio.Task[None]] = []
        self._phases: dict[str, str] = {}
        self._active: dict[str, int] = {}
        self._alarms: dict[tuple[str, str], int] = {}
        self._first = True
        self.seen = Seen()

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(_regularly(self.look_at_links, _LINK_SECONDS)),
            asyncio.create_task(_regularly(self.look_at_keys, _KEYD_SECONDS)),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def look_at_links(self) -> None:
        """Tell which links came up or went down."""
        now = {link.jid: link for link in self._links()}
        for jid, link in now.items():
            up = link.phase == "connected"
            phase: Literal["up", "down"] = "up" if up else "down"
            if self._phases.get(jid, "down") != phase:
                self._events.publish("link", LinkChange(jid, phase, "" if up else link.fault_text))
            self._phases[jid] = phase
        for jid in set(self._phases) - set(now):
            del self._phases[jid]
            self._events.publish("link", LinkChange(jid, "removed", ""))

    async def look_at_keys(self) -> None:
        """Ask for status and versions; tell of alarms and of secrets that changed by themselves."""
        try:
            status = await self._keys.ask(GetStatus(), timeout_seconds=_ASK_SECONDS)
            versions = await self._versions()
        except KeyServiceUnavailable:
            self.seen = replace(self.seen, live_keys=None)
            return
        if isinstance(status, Status):
            self._tell_alarms(status.alarms)
            self._tell_secrets(versions)
            self._first = False
            self.seen = Seen(_samples(versions), status.live_keys, _alarm_samples(status.alarms))

    async def _versions(self) -> list[ListedVersion]:
        found: list[ListedVersion] = []
        after: str | None = ""
        while after is not None:
            page = await self._keys.ask(ListVersions(None, after), timeout_seconds=_ASK_SECONDS)
            if not isinstance(page, VersionList):
                break
            found += page.versions
            after = page.after
        return found

    def _tell_alarms(self, alarms: Sequence[Alarm]) -> None:
        for alarm in alarms:
            before = self._alarms.get((alarm.code, alarm.subject), 0)
            if alarm.count > before and not self._first:
                raised = AlarmRaised(alarm.code, alarm.subject, alarm.text, alarm.count)
                self._events.publish("alarm", raised)
            self._alarms[alarm.code, alarm.subject] = alarm.count

    def _tell_secrets(self, versions: Sequence[ListedVersion]) -> None:
        for version in versions:
            if version.state == "active":
                before = self._active.get(version.domain)
                if before != version.number and not self._first and not self._is_told(version):
                    change = SecretChange("changed", version.domain, [version.number])
                    self._events.publish("secret", change, version.domain)
                self._active[version.domain] = version.number

    def _is_told(self, version: ListedVersion) -> bool:
        """Whether whoever made it over the API was told of already."""
        told = self._events.kept("secret", version.domain)
        return any(
            version.number in (*change.versions, change.successor)
            for change in told
            if isinstance(change, SecretChange)
        )


async def _regularly(step: Callable[[], Awaitable[None]], seconds: float) -> None:
    while True:
        try:
            await step()
        except Exception:  # a fault in one look must not end all further ones
            log.exception("cannot look at links or the key service")
        await asyncio.sleep(seconds)


def _samples(versions: Sequence[ListedVersion]) -> list[SecretSample]:
    """One sample for each domain with an ACTIVE version."""
    retired: dict[str, int] = {}
    stateless: dict[str, int] = {}
    for version in versions:
        if version.state == "retired":
            count = stateless if version.kind == "stateless" else retired
            count[version.domain] = count.get(version.domain, 0) + 1
    return [
        SecretSample(
            version.domain,
            version.created_ms / 1000,
            None if version.next_rotation_ms is None else version.next_rotation_ms / 1000,
            retired.get(version.domain, 0),
            stateless.get(version.domain, 0),
        )
        for version in versions
        if version.state == "active"
    ]


def _alarm_samples(alarms: Sequence[Alarm]) -> list[AlarmSample]:
    counts: dict[str, int] = {}
    for alarm in alarms:
        counts[alarm.code] = counts.get(alarm.code, 0) + alarm.count
    return [AlarmSample(code, count) for code, count in sorted(counts.items())]
