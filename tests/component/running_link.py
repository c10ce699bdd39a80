"""A link under test that runs, and waiting for what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sidecar.component import Link, LinkState
from sidecar.component.link import Timing

QUICK = Timing(
    connect_seconds=5,
    handshake_seconds=5,
    first_retry_seconds=0.01,
    retry_cap_seconds=0.05,
    close_seconds=0.5,
)


@asynccontextmanager
async def running(link: Link) -> AsyncIterator[Link]:
    task = asyncio.ensure_future(link.run())
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(link: Link, holds: Callable[[LinkState], bool]) -> LinkState:
    """Return the link's state once `holds`; fails after ten seconds."""
    async with asyncio.timeout(10):
        while not holds(state := link.state):
            await asyncio.sleep(0.002)
        return state
