"""The authority listener with thousands of idle, slow and flooding peers beside an honest one.

The honest peer asks about a key that was just issued, again and again, first alone and then in the
crowd. Its median may be three times as long there; all its keys are valid; memory is bounded, and
the second crowd finds what the first one took given back.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import statistics
import struct
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from bench import cpu
from bench.contenders import Cores, pin
from bench.dns import WildcardDns
from bench.outbound import IssuedKey
from bench.soak.crowd import Crowd
from bench.soak.memory import resident_mib
from bench.verify import VerifyStream
from sidecar.key_client import KeyClient
from sidecar.lab.addresses import fresh_address
from sidecar.lab.authority import AuthorityPlace
from sidecar.lab.directory import throwaway_directory
from sidecar.lab.sidecar import Sidecar, SidecarSettings
from sidecar.names import Domain, DomainPair, StreamId

SLOWER_AT_MOST = 3
_DOMAIN, _HONEST = "verified.example", "honest.example"
_IDLE_KIB = 64  # for each connection
_FLOODS_MIB = 64
_AGAIN = 1.1
_PAUSE_SECONDS = 0.01
_NOT_CLOSED = {"01", "08"}  # ESTABLISHED, CLOSE_WAIT


@dataclass(frozen=True)
class Size:
    """How many there are of each, and how many keys the honest peer asks about."""

    idle: int
    slow: int
    floods: int
    honest: int


FULL = Size(idle=5_000, slow=50, floods=4, honest=2_000)
QUICK = Size(idle=200, slow=4, floods=1, honest=50)


@dataclass(frozen=True)
class Target:
    """The listener, and what is seen of its process from outside."""

    place: AuthorityPlace
    pids: dict[str, int]
    keys: KeyClient

    def connections(self) -> int:
        """TCP connections that the listener has not closed."""
        (address,) = struct.unpack("=I", socket.inet_aton(self.place.address))
        local = f"{address:08X}:{self.place.port:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(row[1] == local and row[3] in _NOT_CLOSED for row in rows)

    def mib(self) -> float:
        return sum(resident_mib(pid) for pid in self.pids.values())


async def soak(size: Size) -> bool:
    """Print what was seen; True when all is as it should be."""
    _allow_many_connections()
    cores = Cores.choose(together=False)
    async with _target(cores.server) as target:
        with cores.load_alone():
            await _honest(target, size.honest // 4)  # warm up
            alone = await _honest(target, size.honest)
            before = target.mib()
            beside, peaks, good = [], [], []
            for _ in range(2):
                async with _crowd(target.place, size):
                    beside.append(await _honest(target, size.honest))
                    peaks.append(target.mib())
                good.append(await _reclaimed(target))
    return _judge(size, alone, beside, before, peaks, all(good))


def _judge(
    size: Size,
    alone: list[float],
    beside: list[list[float]],
    before: float,
    peaks: list[float],
    reclaimed: bool,
) -> bool:
    print(f"honest alone:     p50 {_ms(alone, 0.5)}, p99 {_ms(alone, 0.99)}")
    slower = []
    for times in beside:
        slower.append(statistics.median(times) / statistics.median(alone))
        told = f"p50 {_ms(times, 0.5)}, p99 {_ms(times, 0.99)}"
        print(f"in the crowd:     {told}, median {slower[-1]:.2f} times")
    room = size.idle * _IDLE_KIB / 1024 + _FLOODS_MIB
    print(f"memory:           {before:.0f} MiB alone, {peaks[0]:.0f} and {peaks[1]:.0f} in crowds")
    print(f"                  {(peaks[0] - before) * 1024 / size.idle:.0f} KiB for each idle one")
    print(f"connections:      {'all given back' if reclaimed else 'not all given back'}")
    return (
        reclaimed
        and max(slower) <= SLOWER_AT_MOST
        and peaks[0] <= before + room
        and peaks[1] <= peaks[0] * _AGAIN
    )


async def _honest(target: Target, count: int) -> list[float]:
    """Seconds for each of `count` verifies, one at a time, each of a new key; all are valid."""
    place = target.place
    loop = asyncio.get_running_loop()
    make = partial(VerifyStream, None, sender=_HONEST.encode(), target=_DOMAIN.encode())
    _, stream = await loop.create_connection(make, place.address, place.port)
    await stream.ready
    pair = DomainPair(sender=Domain.parse(_DOMAIN), target=Domain.parse(_HONEST))
    found = []
    for number in range(count):
        name = f"{time.monotonic_ns()}-{number}"
        key = await target.keys.issue(pair, StreamId.parse(name), timeout_seconds=10)
        asked = IssuedKey(_DOMAIN.encode(), _HONEST.encode(), name.encode(), key.reveal().encode())
        start = time.perf_counter()
        stream.start([asked.verify_request], 1)
        async with asyncio.timeout(30):
            await stream.done
        found.append(time.perf_counter() - start)
        await asyncio.sleep(_PAUSE_SECONDS)
    stream.close()
    assert stream.valid == count, f"{count - stream.valid} of {count} keys were not valid"
    return found


async def _reclaimed(target: Target) -> bool:
    """Whether every connection of the crowd is given back within a minute."""
    for _ in range(600):
        if not target.connections():
            return True
        await asyncio.sleep(0.1)
    return False


def _ms(seconds: list[float], share: float) -> str:
    return f"{sorted(seconds)[int(len(seconds) * share)] * 1e3:.2f} ms"


@asynccontextmanager
async def _target(core: int) -> AsyncIterator[Target]:
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(throwaway_directory())
        dns = await stack.enter_async_context(WildcardDns(fresh_address()))
        place = AuthorityPlace.fresh(_DOMAIN, allow_cleartext=True, connections=10_000)
        settings = SidecarSettings([], log_level="warning", authority=place)
        sidecar = await stack.enter_async_context(Sidecar(settings, directory=directory, dns=dns))
        (keyd,) = cpu.children(sidecar.pid)
        for pid in (sidecar.pid, keyd):
            pin(pid, core)
        keys = KeyClient(sidecar.keyd_socket)
        stack.push_async_callback(keys.close)
        await keys.start(timeout_seconds=10)
        yield Target(place, {"sidecar": sidecar.pid, "keyd": keyd}, keys)


@asynccontextmanager
async def _crowd(place: AuthorityPlace, size: Size) -> AsyncIterator[None]:
    crowd = Crowd(
        address=place.address,
        port=place.port,
        domain=_DOMAIN,
        idle=size.idle,
        slow_writers=size.slow,
        slow_readers=size.slow,
        floods=size.floods,
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.soak.crowd",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(msgspec.json.encode(crowd) + b"\n")
    async with asyncio.timeout(120):
        assert await process.stdout.readline() == b"ready\n", "the crowd did not get in"
    try:
        yield
    finally:
        process.stdin.close()
        await process.wait()


def _allow_many_connections() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
