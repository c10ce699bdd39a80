"""Gives the memory that a rush has left back to the system.

XML parsers and TLS sessions live outside Python's own allocator, and glibc keeps what they leave as
long as something younger lies behind it.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

_SECONDS = 30.0


def _trim() -> Callable[[int], int] | None:
    """`malloc_trim` of the C library, where it has one (glibc)."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


@asynccontextmanager
async def giving_back(seconds: float = _SECONDS) -> AsyncIterator[None]:
    """Give back what is spare every few seconds, in a thread, until the block ends."""
    trim = _trim()
    if trim is None:
        yield
        return

    async def regularly() -> None:
        while True:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(trim, 0)

    task = asyncio.create_task(regularly(), name="spare memory")
    try:
        yield
    finally:
        task.cancel()
