"""Handshakes by the hundred thousand, every peer a new one, the link cut again and again.

Of each two handshakes one is outgoing (issue, verify, report) and one incoming (a check at a
simulated authoritative server, report). Every one has to be valid. Once the bounded history is
full the daemon's memory has to stay what it is; the key service may grow by what it remembers of
each issued key for an hour.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench import cpu
from bench.link_server import DOMAIN, LinkServer, issued_key
from bench.peers import INBOUND_ZONE, peers
from bench.quiet_sidecar import QuietSidecar
from bench.soak.memory import Course
from sidecar.lab.directory import throwaway_directory
from sidecar.lab.sidecar import SidecarLink, SidecarSettings

IDLE_MIB = 130
_FLAT = 1.03
_KEY_BYTES = 512
_ENOUGH = 50_000  # of fewer, the growth says nothing
_AT_ONCE = 32
_LOOKS = 40
_QUICK_LOOKS = 4


class _Run:
    """Counts what was not valid."""

    def __init__(self, link: LinkServer) -> None:
        self._link = link
        self._numbers = itertools.count()
        self.wrong: list[bytes] = []

    async def many(self, count: int) -> None:
        """Do `count` handshakes, some at a time."""
        remaining = iter(range(count))

        async def worker() -> None:
            for _ in remaining:
                number = next(self._numbers)
                await (self._outgoing(number) if number % 2 else self._incoming(number))

        await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))

    async def _outgoing(self, number: int) -> None:
        triple = f"sender='{DOMAIN}' target='out{number}.example' stream='O{number}'"
        issued = await self._link.ask("set", f"<issue {triple} ip='192.0.2.1'/>")
        if (key := issued_key(issued)) is None:
            self.wrong.append(issued)
            return
        await self._expect_valid(f"<verify {triple}>{key}</verify>")
        await self._report("initiating", triple)

    async def _incoming(self, number: int) -> None:
        triple = f"sender='d{number}.{INBOUND_ZONE}' target='{DOMAIN}' stream='I{number}'"
        await self._expect_valid(f"<check {triple} ip='192.0.2.1'><key>b4835385</key></check>")
        await self._report("receiving", triple)

    async def _expect_valid(self, question: str) -> None:
        answer = await self._link.ask("get", question)
        if b"type='valid'" not in answer and b'type="valid"' not in answer:
            self.wrong.append(answer)

    async def _report(self, role: str, triple: str) -> None:
        outcome = f"<outcome role='{role}' mechanism='dialback' {triple} type='valid'/>"
        await self._link.ask("set", f"<report>{outcome}</report>")


async def soak(count: int) -> bool:
    """Do `count` handshakes and print the course of memory; True when all is as it should be."""
    async with _daemon(history=count // 10) as (link, pids):
        run, course = _Run(link), Course(pids)
        await asyncio.sleep(2)
        course.look()
        idle = course.together_at_first()
        print(f"idle: {idle:.0f} MiB together, at most {IDLE_MIB}")
        looks = _LOOKS if count >= _ENOUGH else _QUICK_LOOKS
        for look in range(looks):
            await run.many(count // looks)
            course.look()
            await link.drop()
            if sys.stderr.isatty():
                print(f"\r{(look + 1) * count // looks} of {count}", end="", file=sys.stderr)
        done = count // looks * looks
    print(f"{done} handshakes, {looks} reconnects, {len(run.wrong)} not valid")
    for answer in run.wrong[:3]:
        print(f"    {answer.decode(errors='replace')}")
    print("\n".join(course.table()))
    each_key = course.added("keyd") * 2**20 / (done / 2)
    print(f"key service: {each_key:.0f} bytes for each issued key, at most {_KEY_BYTES}")
    flat = course.growth("sidecar") <= _FLAT and each_key <= _KEY_BYTES
    return (flat or done < _ENOUGH) and idle <= IDLE_MIB and not run.wrong


@asynccontextmanager
async def _daemon(*, history: int) -> AsyncIterator[tuple[LinkServer, dict[str, int]]]:
    async with AsyncExitStack() as stack:
        folder: Path = stack.enter_context(throwaway_directory())
        others = await stack.enter_async_context(peers(None))
        link = await stack.enter_async_context(LinkServer())
        settings = SidecarSettings(
            [SidecarLink(link.jid, "127.0.0.1", link.port, link.secret, [DOMAIN])],
            log_level="warning",
            check={"address_connections_per_second": 1_000_000},  # all peers have one address
            toml=f"[history]\nrecords = {history}\n",
        )
        sidecar = QuietSidecar(settings, directory=folder, dns=others.dns)
        await stack.enter_async_context(sidecar)
        await link.linked()
        (keyd,) = cpu.children(sidecar.pid)
        yield link, {"sidecar": sidecar.pid, "keyd": keyd}
