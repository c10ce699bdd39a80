"""Every component link of the configuration, up as long as it can be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from msgspec.structs import replace

from sidecar.component import Limits, Link, LinkState
from sidecar.config import Config, LinkConfig
from sidecar.engine import Engine

log = logging.getLogger(__name__)

_GRACE_SECONDS = 5.0


class Links:
    """Started with a configuration, changed to others, ended with a grace for running work."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._links: dict[str, tuple[LinkConfig, Link]] = {}
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def states(self) -> Sequence[tuple[LinkConfig, LinkState]]:
        """Each link at this moment, in the order of the configuration."""
        return [(config, link.state) for config, link in self._links.values()]

    async def run(self, config: Config, until: asyncio.Event) -> None:
        """Keep the links up until the event. A fault in one of them ends all, and is raised."""
        async with asyncio.TaskGroup() as self._tasks:
            self._start(config.link, _limits(config))
            try:
                await until.wait()
                log.info("stopping")
            finally:
                await _stop([link for _, link in self._links.values()])

    async def take_up(self, config: Config) -> tuple[list[str], list[str], list[str]]:
        """Change to another configuration; return the links added, removed and changed.

        A link of which only the domains or limits change stays connected. Others are ended with a
        grace before a new one takes their JID.
        """
        limits = _limits(config)
        wanted = {link.name: link for link in config.link}
        removed = [name for name in self._links if name not in wanted]
        added = [name for name in wanted if name not in self._links]
        changed = [name for name in wanted if name in self._links and self._differs(wanted[name])]
        moved = [name for name in changed if self._has_moved(wanted[name])]
        await _stop([self._links.pop(name)[1] for name in (*removed, *moved)])
        for name, link in wanted.items():
            if name in self._links:
                self._links[name][1].take_up(link, limits)
                self._links[name] = (link, self._links[name][1])
        self._start([wanted[name] for name in (*added, *moved)], limits)
        self._links = {name: self._links[name] for name in wanted}
        return added, removed, changed

    def _start(self, links: Sequence[LinkConfig], limits: Limits) -> None:
        assert self._tasks is not None
        for config in links:
            link = Link(config, self._engine, limits=limits)
            self._links[config.name] = (config, link)
            self._tasks.create_task(link.run())

    def _differs(self, wanted: LinkConfig) -> bool:
        known = self._links[wanted.name][0]
        return known.domains.patterns != wanted.domains.patterns or self._has_moved(wanted)

    def _has_moved(self, wanted: LinkConfig) -> bool:
        """Whether more than the domains differ."""
        known = self._links[wanted.name][0]
        if known.secret.reveal() != wanted.secret.reveal():
            return True
        return replace(known, domains=wanted.domains, secret=wanted.secret) != wanted


def _limits(config: Config) -> Limits:
    return Limits(check_seconds=config.check.timeout_seconds)


async def _stop(links: Sequence[Link]) -> None:
    await asyncio.gather(*(link.stop(_GRACE_SECONDS) for link in links))
