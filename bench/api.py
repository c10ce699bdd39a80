"""The admin API under load, with the daemon answering handshakes beside it.

    python -m bench.api [--seconds N] [--handshakes N]

Handshakes (an issue and a verify each) come over a component link at a steady rate, first alone,
then beside each API load. Told are requests per second and times of the API, and what it costs
the handshakes: their median and 99th percentile beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from bench.link_server import DOMAIN, LinkServer
from sidecar.lab.process import Process
from sidecar.lab.sidecar import ENVIRONMENT, command

Request = Callable[[aiohttp.ClientSession], Awaitable[int]]


def _get(path: str) -> Request:
    async def get(session: aiohttp.ClientSession) -> int:
        async with session.get(path) as response:
            await response.read()
            return response.status

    return get


async def _rotate(session: aiohttp.ClientSession) -> int:
    path = f"/v1/domains/{DOMAIN}/secrets/rotate"
    async with session.post(path) as response:
        await response.read()
        return response.status


LOADS: dict[str, Request] = {
    "status": _get("/v1/status"),
    "page of 50 handshakes": _get("/v1/handshakes"),
    "rotate": _rotate,
}


async def measure(seconds: float, handshakes: float) -> None:
    """Print a table."""
    async with _daemon() as (link, session):
        print(
            f"{handshakes:g} handshakes/s for {seconds:g} s with each load, one request at a time"
        )
        print(f"{'load':<22} {'req/s':>7} {'p50 ms':>7} {'p99 ms':>7}   handshakes: p50 ms  p99 ms")
        running = asyncio.ensure_future(link.shake_hands(handshakes))
        await asyncio.sleep(min(1.0, seconds))  # warm up
        await _round("(none)", None, link, session, seconds)
        for name, request in LOADS.items():
            await _round(name, request, link, session, seconds)
        running.cancel()
        if link.failed:
            print(f"{link.failed} handshakes were not valid")


async def _round(
    name: str,
    request: Request | None,
    link: LinkServer,
    session: aiohttp.ClientSession,
    seconds: float,
) -> None:
    link.seconds.clear()
    took: list[float] = []
    end = time.perf_counter() + seconds
    while request is not None and time.perf_counter() < end:
        start = time.perf_counter()
        status = await request(session)
        took.append(time.perf_counter() - start)
        if status == 409:  # 16 versions wait for their last key: rotate no faster than that
            took.pop()
            await asyncio.sleep(0.01)
    if request is None:
        await asyncio.sleep(seconds)
    api = f"{len(took) / seconds:7.0f} {_ms(took, 50)} {_ms(took, 99)}"
    print(f"{name:<22} {api}               {_ms(link.seconds, 50)} {_ms(link.seconds, 99)}")


def _ms(seconds: list[float], percentile: int) -> str:
    if not seconds:
        return f"{'-':>7}"
    ordered = sorted(seconds)
    return f"{ordered[min(len(ordered) - 1, len(ordered) * percentile // 100)] * 1000:7.2f}"


@asynccontextmanager
async def _daemon() -> AsyncIterator[tuple[LinkServer, aiohttp.ClientSession]]:
    with TemporaryDirectory(prefix="bench-api-") as name:
        folder = Path(name)
        async with LinkServer() as link:
            (folder / "secret").touch(mode=0o600)
            (folder / "secret").write_text(link.secret)
            (folder / "sidecar.toml").write_text(
                f'state_directory = "state"\n[admin]\nlisten = []\n[log]\nlevel = "warning"\n'
                f'[[link]]\njid = "{link.jid}"\nport = {link.port}\nsecret_file = "secret"\n'
                f'domains = ["{DOMAIN}"]\n'
            )
            argv = command("dialback-sidecar", "serve", "--config", folder / "sidecar.toml")
            process = Process("sidecar", argv, directory=folder, environment=ENVIRONMENT)
            await process.start()
            try:
                await link.linked()
                token = (folder / "state" / "keyd" / "admin-token").read_text().strip()
                connector = aiohttp.UnixConnector(str(folder / "state" / "api.sock"))
                headers = {"Authorization": f"Bearer {token}"}
                async with aiohttp.ClientSession(
                    "http://localhost", connector=connector, headers=headers
                ) as session:
                    yield link, session
            finally:
                await process.stop(grace_seconds=10)


def main() -> None:
    parser = argparse.ArgumentParser(description="the admin API under load, beside handshakes")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--handshakes", type=float, default=200.0, help="per second")
    options = parser.parse_args()
    asyncio.run(measure(options.seconds, options.handshakes))


if __name__ == "__main__":
    main()
