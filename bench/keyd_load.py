"""Pairs of issue and verify through the socket of a dialback-keyd, so many outstanding.

The load generator speaks the protocol itself and answers a frame with a frame: a client with a
future and a timer for each request would measure itself.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from bench.sample import Sample, summary
from sidecar.keys.framing import FrameReader, decode_replies, encode_frame
from sidecar.keys.messages import MAX_PER_FRAME, IssueKey, Judged, KeyIssued, Reply, VerifyKey
from sidecar.lab.faults import LabError

_START_SECONDS = 120
_TIMEOUT_SECONDS = 600
_PAUSE_SECONDS = 0.02


def triples(domains: int, first: int) -> Iterator[tuple[str, str, str]]:
    """Endless triples, each new: so many sender domains, a target zone for every 64 keys."""
    number = first
    while True:
        yield f"d{number % domains}.example", f"t{number % 64}.z{number // 64}.test", f"s{number}"
        number += 1


class PairStream(asyncio.Protocol):
    """Keeps `window` pairs outstanding until `count` are done."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.latencies: list[float] = []
        self.failed = 0
        self._reader = FrameReader()
        self._under_way: list[tuple[float, tuple[str, str, str]]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def start(
        self, fresh: Iterator[tuple[str, str, str]], count: int, window: int, *, verify: bool
    ) -> None:
        """Begin; `done` resolves at the end. Without `verify` keys are issued only."""
        self.done = asyncio.get_running_loop().create_future()
        self.latencies, self.failed = [], 0
        self._fresh, self._left, self._verify = fresh, count, verify
        self._under_way = [(0.0, ("", "", ""))] * window
        slots = [slot for slot in range(window) if self._left > slot]
        self._send([(slot, self._next(slot)) for slot in slots])

    def data_received(self, data: bytes) -> None:
        requests: list[tuple[int, IssueKey | VerifyKey]] = []
        now = time.perf_counter()
        for payload in self._reader.feed(data):
            for slot, reply in decode_replies(payload):
                request = self._go_on(slot, reply, now)
                if request is not None:
                    requests.append((slot, request))
        self._send(requests)

    def _go_on(self, slot: int, reply: Reply, now: float) -> IssueKey | VerifyKey | None:
        started, triple = self._under_way[slot]
        if isinstance(reply, KeyIssued) and self._verify:
            return VerifyKey(*triple, reply.key)
        right = isinstance(reply, KeyIssued) or (
            isinstance(reply, Judged) and reply.outcome == "valid"
        )
        self.failed += not right
        self.latencies.append(now - started)
        if self._left > 0:
            return self._next(slot)
        self._under_way[slot] = (0.0, ("", "", ""))
        if not any(started for started, _ in self._under_way) and not self.done.done():
            self.done.set_result(None)
        return None

    def _next(self, slot: int) -> IssueKey:
        self._left -= 1
        triple = next(self._fresh)
        self._under_way[slot] = (time.perf_counter(), triple)
        return IssueKey(*triple)

    def _send(self, requests: list[tuple[int, IssueKey | VerifyKey]]) -> None:
        for start in range(0, len(requests), MAX_PER_FRAME):
            self.transport.write(encode_frame(requests[start : start + MAX_PER_FRAME]))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionResetError("keyd ended the connection"))


async def run_pairs(
    stream: PairStream,
    fresh: Iterator[tuple[str, str, str]],
    count: int,
    window: int,
    *,
    verify: bool = True,
) -> Sample:
    """One run of `count` pairs with `window` of them outstanding."""
    start = time.perf_counter()
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        stream.start(fresh, count, window, verify=verify)
        await stream.done
    return summary(stream.latencies, stream.failed, time.perf_counter() - start)


class BenchedKeyd:
    """A dialback-keyd in a directory of its own; keys live for half an hour, so that all stay."""

    def __init__(self, directory: Path) -> None:
        self._socket = directory / "keyd.sock"
        self._command = [sys.executable, "-m", "sidecar.keyd", "--allow-root"]
        self._command += ["--state-directory", str(directory / "keyd")]
        self._command += ["--socket", str(self._socket), "--key-lifetime", "30m"]
        self._command += ["--max-entries", "4000000", "--log-level", "warning"]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self, core: int) -> float:
        """Start it on one core; return the seconds until it takes a connection."""
        begun = time.perf_counter()
        self._process = subprocess.Popen(self._command)
        os.sched_setaffinity(self._process.pid, {core})
        while time.perf_counter() - begun < _START_SECONDS:
            if self._process.poll() is not None:
                raise LabError("dialback-keyd ended at its start")
            try:
                _, writer = await asyncio.open_unix_connection(self._socket)
            except OSError:
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                writer.close()
                return time.perf_counter() - begun
        raise LabError("dialback-keyd does not start")

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[PairStream]:
        """A connection to it."""
        loop = asyncio.get_running_loop()
        transport, stream = await loop.create_unix_connection(PairStream, str(self._socket))
        try:
            yield stream
        finally:
            stream.done.cancel()
            transport.close()

    def stop(self, *, kill: bool = False) -> None:
        if self._process is not None and self._process.poll() is None:
            if kill:
                self._process.kill()
            else:
                self._process.terminate()
            self._process.wait(_START_SECONDS)

    def resident_mib(self) -> float:
        """Memory that is in RAM, in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text().split()
        return int(status[status.index("VmRSS:") + 1]) / 1024
