"""The admin API under load, with the daemon answering handshakes beside it.

Handshakes (an issue and a verify each) come over a component link at a steady rate, first alone,
then beside each API load. Told are requests per second, times and CPU time of the API, and what it
costs the handshakes: their median and 99th percentile beside it. The CPU time of a request is that
of daemon and key service less what as many handshakes took when they were alone.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from bench import cpu
from bench.comparison import CPU_OF_ALL, MEDIAN, P99, RATE, Comparison, Line
from bench.link_server import DOMAIN, LinkServer
from bench.run import Run
from bench.sample import Sample, summary
from sidecar.lab.process import Process
from sidecar.lab.sidecar import ENVIRONMENT, command

ROTATED = [f"rotated{number}.{DOMAIN}" for number in range(64)]
"""Many, in turn: at most 16 versions of one may wait for their last key, or to be removed."""

Request = Callable[[aiohttp.ClientSession], Awaitable[int]]


def _get(path: str) -> Request:
    async def get(session: aiohttp.ClientSession) -> int:
        async with session.get(path) as response:
            await response.read()
            return response.status

    return get


def _rotate() -> Request:
    turn = itertools.cycle(ROTATED)

    async def rotate(session: aiohttp.ClientSession) -> int:
        async with session.post(f"/v1/domains/{next(turn)}/secrets/rotate") as response:
            await response.read()
            return response.status

    return rotate


LOADS: dict[str, Request] = {
    "status": _get("/v1/status"),
    "page of 50 handshakes": _get("/v1/handshakes"),
    "rotate": _rotate(),
}


HANDSHAKES_PER_SECOND = 200.0
_ALONE = "(none)"


async def compare(run: Run) -> list[Comparison]:
    """The requests themselves, and the handshakes beside them with those that were alone."""
    seconds, rate = (0.4, 50.0) if run.quick else (5.0, HANDSHAKES_PER_SECOND)
    requests: dict[str, list[Sample]] = {}
    handshakes: dict[str, list[Sample]] = {}
    async with _daemon() as (link, session, pids):
        running = asyncio.ensure_future(link.shake_hands(rate))
        await asyncio.sleep(min(1.0, seconds))  # warm up
        for _ in run.each_round():
            handshake_seconds = 0.0
            for name, request in {_ALONE: None, **LOADS}.items():
                failed, meter = link.failed, cpu.Meter(pids)
                took, refused = await _load(request, link, session, seconds)
                used, shaken = sum(meter.read().values()), list(link.seconds)
                if request is None:
                    handshake_seconds = used / len(shaken)
                else:
                    beside = used - handshake_seconds * len(shaken)
                    answered = summary(took, refused, seconds)
                    answered.cpu_seconds = {"daemon and key service": max(0.0, beside)}
                    requests.setdefault(name, []).append(answered)
                sample = summary(shaken, link.failed - failed, seconds)
                handshakes.setdefault(name, []).append(sample)
        running.cancel()
    alone = handshakes.pop(_ALONE)
    return [
        Comparison(
            "admin API, one request at a time",
            "",
            "",
            base={},
            ours=requests,
            lines=[Line(name, measure) for name in LOADS for measure in (RATE, P99, CPU_OF_ALL)],
        ),
        Comparison(
            f"handshakes at {rate:g}/s beside it",
            "alone",
            "beside requests",
            base=dict.fromkeys(handshakes, alone),
            ours=handshakes,
            lines=[Line(name, measure) for name in LOADS for measure in (MEDIAN, P99)],
        ),
    ]


async def _load(
    request: Request | None, link: LinkServer, session: aiohttp.ClientSession, seconds: float
) -> tuple[list[float], int]:
    """Have it asked for `seconds`; return what each request took, and how many were refused. What
    the handshakes took is in `link`."""
    link.seconds.clear()
    took: list[float] = []
    refused = 0
    end = time.perf_counter() + seconds
    while request is not None and time.perf_counter() < end:
        start = time.perf_counter()
        status = await request(session)
        if status == 200:
            took.append(time.perf_counter() - start)
        else:
            refused += 1
    if request is None:
        await asyncio.sleep(seconds)
    return took, refused


@asynccontextmanager
async def _daemon() -> AsyncIterator[tuple[LinkServer, aiohttp.ClientSession, dict[str, int]]]:
    """Yield the server's end of its link, a client of its API, and the ids of its processes."""
    with TemporaryDirectory(prefix="bench-api-") as name:
        folder = Path(name)
        async with LinkServer() as link:
            (folder / "secret").touch(mode=0o600)
            (folder / "secret").write_text(link.secret)
            (folder / "sidecar.toml").write_text(
                f'state_directory = "state"\n[admin]\nlisten = []\n[log]\nlevel = "warning"\n'
                f'[[link]]\njid = "{link.jid}"\nport = {link.port}\nsecret_file = "secret"\n'
                f'domains = ["{DOMAIN}", "*.{DOMAIN}"]\n'
            )
            argv = command("dialback-sidecar", "serve", "--config", folder / "sidecar.toml")
            process = Process("sidecar", argv, directory=folder, environment=ENVIRONMENT)
            await process.start()
            try:
                await link.linked()
                for domain in ROTATED:  # their first secrets
                    triple = f"sender='{domain}' target='d.example' stream='S'"
                    await link.ask("set", f"<issue {triple}></issue>")
                token = (folder / "state" / "keyd" / "admin-token").read_text().strip()
                connector = aiohttp.UnixConnector(str(folder / "state" / "api.sock"))
                headers = {"Authorization": f"Bearer {token}"}
                async with aiohttp.ClientSession(
                    "http://localhost", connector=connector, headers=headers
                ) as session:
                    (keyd,) = cpu.children(process.pid)
                    yield link, session, {"server": process.pid, "keyd": keyd}
            finally:
                await process.stop(grace_seconds=10)
