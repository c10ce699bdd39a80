"""Every component link of the configuration, up as long as it can be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from sidecar.component import Limits, Link, LinkState
from sidecar.config import Config
from sidecar.engine import Engine

log = logging.getLogger(__name__)

_GRACE_SECONDS = 5.0


class Links:
    """Started with a configuration; ended with a grace for what is being answered."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._links: list[Link] = []
        self._running: asyncio.TaskGroup | None = None

    @property
    def states(self) -> Sequence[LinkState]:
        """Each link at this moment, in the order of the configuration."""
        return [link.state for link in self._links]

    async def run(self, config: Config, until: asyncio.Event) -> None:
        """Keep the links up until the event. A fault in one of them ends all, and is raised."""
        limits = Limits(check_seconds=config.check.timeout_seconds)
        self._links = [Link(link, self._engine, limits=limits) for link in config.link]
        async with asyncio.TaskGroup() as running:
            for link in self._links:
                running.create_task(link.run())
            try:
                await until.wait()
                log.info("stopping")
            finally:
                await asyncio.gather(*(link.stop(_GRACE_SECONDS) for link in self._links))
