"""Spare memory goes back to the system while the daemon runs."""

from __future__ import annotations

import asyncio
import ctypes
import re
from pathlib import Path

from sidecar.daemon.spare_memory import giving_back

_MIB = 1 << 20


def resident() -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


async def test_memory_that_something_younger_keeps_in_place_is_given_back() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    blocks = [libc.malloc(60_000) for _ in range(1_000)]
    for block in blocks:
        ctypes.memset(block, 1, 60_000)
    full = resident()
    for block in blocks[:-1]:  # the last one keeps the others from going back by themselves
        libc.free(block)
    async with giving_back(seconds=0.01), asyncio.timeout(20):
        while resident() > full - 40 * _MIB:
            await asyncio.sleep(0.01)
    libc.free(blocks[-1])
