"""Peers that mean no good, in a process of their own: idle, slow, and too many of everything.

Reads one JSON object from standard input (`Crowd`), says `ready` once all are there, and leaves
when standard input ends.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import sys
from collections.abc import Callable, Coroutine

import msgspec
import uvloop

from bench.wire import stream_header

_PER_NETWORK = 100
_CONNECTING_AT_ONCE = 100
_VERIFY = b"<db:verify from='flood.example' to='%s' id='%s'>%s</db:verify>"


class Crowd(msgspec.Struct):
    """How many of each, against `domain`'s listener; each hundred has a network of its own, and
    each that floods it with requests."""

    address: str
    port: int
    domain: str
    idle: int
    slow_writers: int
    slow_readers: int
    floods: int


class Peers:
    """Opens connections, keeps count of those that are there."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._numbers = itertools.count()
        self._floods = itertools.count()
        self._gate = asyncio.Semaphore(_CONNECTING_AT_ONCE)
        self._tasks: list[asyncio.Task[None]] = []
        self._header = stream_header(sender=b"flood.example", target=crowd.domain.encode())

    async def gather(self) -> None:
        """Return once every idle one has been greeted; the others have begun."""
        crowd = self._crowd
        idle = [self._idle() for _ in range(crowd.idle)]
        self._kept = await asyncio.gather(*idle)
        self._begin(crowd.slow_writers, self._write_slowly)
        self._begin(crowd.slow_readers, self._read_nothing)
        self._begin(crowd.floods, self._flood)
        self._begin(crowd.floods, self._connect_and_leave)
        self._begin(crowd.floods, self._send_garbage)

    def _begin(self, count: int, what: Callable[[], Coroutine[None, None, None]]) -> None:
        self._tasks += [asyncio.create_task(self._again_and_again(what)) for _ in range(count)]

    async def _again_and_again(self, what: Callable[[], Coroutine[None, None, None]]) -> None:
        while True:
            try:
                await what()
            except (OSError, EOFError):  # cut off, also before it was greeted
                await asyncio.sleep(0.05)

    async def _connect(
        self, source: str | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if source is None:
            network, host = divmod(next(self._numbers), _PER_NETWORK)
            source = f"127.{100 + network // 250 % 100}.{network % 250}.{host + 1}"
        return await asyncio.open_connection(
            self._crowd.address, self._crowd.port, local_addr=(source, 0)
        )

    async def _greeted(
        self, source: str | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self._connect(source)
        writer.write(self._header)
        await reader.readuntil(b"</stream:features>")
        return reader, writer

    async def _idle(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with self._gate:
            return await self._greeted()

    def _request(self) -> bytes:
        key = secrets.token_hex(32).encode()
        return _VERIFY % (self._crowd.domain.encode(), secrets.token_hex(8).encode(), key)

    async def _write_slowly(self) -> None:
        """A byte a second of a request, until it is cut off."""
        reader, writer = await self._greeted()
        gone = asyncio.ensure_future(reader.read())
        for byte in self._request():
            writer.write(bytes([byte]))
            await asyncio.wait([gone], timeout=1)
            if gone.done():
                break
        gone.cancel()
        writer.close()

    async def _read_nothing(self) -> None:
        """Requests without end, of which no answer is read."""
        _, writer = await self._greeted()
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # uvloop has it
        requests = b"".join(self._request() for _ in range(100))
        for _ in range(1_000):
            writer.write(requests)
            await writer.drain()
        writer.close()

    async def _flood(self) -> None:
        """As many wrong keys as are taken."""
        reader, writer = await self._greeted(f"127.99.{next(self._floods) % 250}.1")
        requests = b"".join(self._request() for _ in range(50))
        while True:
            writer.write(requests)
            answered = 0
            while answered < 50:
                data = await reader.read(65_536)
                if not data:
                    return
                answered += data.count(b"</db:verify>") + data.count(b"'/>")

    async def _connect_and_leave(self) -> None:
        _, writer = await self._connect()
        writer.transport.abort()
        await asyncio.sleep(0.005)

    async def _send_garbage(self) -> None:
        reader, writer = await self._connect()
        writer.write(self._header + secrets.token_bytes(2_000))
        await reader.read()
        writer.close()
        await asyncio.sleep(0.005)


async def _main() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    peers = Peers(msgspec.json.decode(await reader.readline(), type=Crowd))
    await peers.gather()
    print("ready", flush=True)
    await reader.read()
    os._exit(0)  # everything is dropped at once


if __name__ == "__main__":
    os.nice(10)  # what is measured beside us shall not wait for our turn
    uvloop.run(_main())
