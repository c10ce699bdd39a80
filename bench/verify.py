"""Verify requests as fast as the server answers: rendered beforehand, answers counted by scanning.

Several streams share the requests outstanding, because a server may cap what one stream asks
at a time. A latency is the time between the nth request and the nth answer of a stream: the
answers are told apart by nothing else, which leaves the median right when they overtake.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from functools import partial

from bench.outbound import IssuedKey
from bench.sample import Sample, summary
from bench.tls import Tls
from bench.wire import Stream

_TIMEOUT_SECONDS = 60
_ANSWER = b"<db:verify"
_VALID = b"type='valid'"
_VALID_TOO = b'type="valid"'


class Counter:
    """Counts a text in bytes that arrive in pieces."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._tail = b""

    def count(self, data: bytes) -> int:
        joined = self._tail + data
        self._tail = joined[max(0, len(joined) - len(self._text) + 1) :]
        return joined.count(self._text)


class VerifyStream(Stream):
    """Keeps `window` requests outstanding until all of `requests` are answered."""

    def __init__(self, tls: Tls | None, *, sender: bytes, target: bytes) -> None:
        super().__init__(tls, sender=sender, target=target)
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()
        self.latencies: list[float] = []
        self.valid = 0
        self._sent: deque[float] = deque()
        self._requests: Sequence[bytes] = ()
        self._next = 0
        self._answers, self._one, self._two = map(Counter, (_ANSWER, _VALID, _VALID_TOO))

    def opened(self) -> None:
        self.ready.set_result(None)

    def start(self, requests: Sequence[bytes], window: int) -> None:
        """Send `window` requests; `done` resolves when all are answered."""
        self.done = asyncio.get_running_loop().create_future()
        self.latencies = []
        self._requests, self._next = requests, 0
        self._send(window)
        if not requests:
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        if not self._requests:
            super().data_received(data)
            return
        self._acknowledge_at_once()
        answers = self._answers.count(data)
        self.valid += self._one.count(data) + self._two.count(data)
        now = time.perf_counter()
        for _ in range(answers):
            self.latencies.append(now - self._sent.popleft())
        self._send(answers)
        if not self._sent and not self.done.done():
            self.done.set_result(None)

    def _send(self, count: int) -> None:
        batch = self._requests[self._next : self._next + count]
        if batch:
            self._next += len(batch)
            self._sent.extend([time.perf_counter()] * len(batch))
            self.transport.write(b"".join(batch))

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.ready, self.done):
            if not future.done():
                future.set_exception(ConnectionResetError("verify stream closed"))
                future.exception()


class VerifyLoad:
    """Streams to one server, ready to send; `outstanding` requests are spread over them."""

    def __init__(self, streams: Sequence[VerifyStream], outstanding: int) -> None:
        self._streams = streams
        self._window = max(1, outstanding // len(streams))

    @classmethod
    async def connect(
        cls,
        tls: Tls | None,
        *,
        sender: str,
        target: str,
        address: str,
        port: int,
        streams: int,
        outstanding: int,
    ) -> VerifyLoad:
        loop = asyncio.get_running_loop()
        opened: list[VerifyStream] = []
        for number in range(streams):
            domains = {"sender": f"v{number}.{sender}".encode(), "target": target.encode()}
            protocol = partial(VerifyStream, tls, **domains)
            _, stream = await loop.create_connection(protocol, address, port)
            opened.append(stream)
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            await asyncio.gather(*(stream.ready for stream in opened))
        return cls(opened, outstanding)

    async def run(self, keys: Sequence[IssuedKey], repeat: int = 1) -> Sample:
        """Have every key verified `repeat` times; an answer that is not valid is a failure."""
        requests = [key.verify_request for key in keys] * repeat
        shares = [requests[n :: len(self._streams)] for n in range(len(self._streams))]
        valid_before = sum(stream.valid for stream in self._streams)
        start = time.perf_counter()
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            for stream, share in zip(self._streams, shares, strict=True):
                stream.start(share, self._window)
            await asyncio.gather(*(stream.done for stream in self._streams))
        seconds = time.perf_counter() - start
        latencies = [latency for stream in self._streams for latency in stream.latencies]
        valid = sum(stream.valid for stream in self._streams) - valid_before
        return summary(latencies, len(latencies) - valid, seconds)

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
