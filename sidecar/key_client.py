"""KeyClient: the sidecar's side of the socket to dialback-keyd.

One connection; many requests under way on it at once. What is asked in one call shares a frame,
and uvloop writes the frames of one turn together. When the connection drops, everything under way
fails at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import cast

from sidecar.engine import Question
from sidecar.errors import KeyRefused, KeyServiceUnavailable
from sidecar.jobs import Condition, Outcome, Verdict
from sidecar.keys.framing import BadFrame, FrameReader, decode_replies, encode_frame
from sidecar.keys.messages import (
    MAX_PER_FRAME,
    Done,
    EndKey,
    Failed,
    IssueKey,
    Judged,
    KeyIssued,
    Refused,
    Reply,
    Request,
    VerifyKey,
)
from sidecar.names import DialbackKey, DomainPair, StreamId

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_STEADY_SECONDS = 1.0
_END_SECONDS = 3.0
_MAX_UNDER_WAY = 10_000
_IDS = 1 << 32
_TOO_LATE = "the key service did not answer in time"


class KeyClient:
    """Asks dialback-keyd. `start` it before use and `close` it after, in one event loop."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._channel: _Channel | None = None
        self._connected = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._failure = ""

    async def start(self, *, timeout_seconds: float) -> None:
        """Connect and stay connected from now on. Raises KeyServiceUnavailable on timeout.

        It keeps trying after a timeout too, until `close`.
        """
        if self._supervisor is None:
            self._supervisor = asyncio.create_task(self._supervise(), name="key client")
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._connected.wait()
        except TimeoutError:
            why = f": {self._failure}" if self._failure else ""
            raise KeyServiceUnavailable(f"no key service answers at {self._socket}{why}") from None

    async def close(self) -> None:
        """End the connection; requests under way fail."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None

    @property
    def connected(self) -> bool:
        return self._channel is not None

    @property
    def under_way(self) -> int:
        """How many requests wait for their reply."""
        return 0 if self._channel is None else self._channel.under_way

    async def ask(self, request: Request, *, timeout_seconds: float) -> Reply:
        """Return the reply to any request, as it is. Raises KeyServiceUnavailable."""
        return await self._ask(request, timeout_seconds)

    async def issue(
        self, pair: DomainPair, stream: StreamId, *, timeout_seconds: float
    ) -> DialbackKey:
        """Return the key for this pair and stream. Raises KeyServiceUnavailable, KeyRefused."""
        reply = await self._ask(IssueKey(*_triple(pair, stream)), timeout_seconds)
        if isinstance(reply, KeyIssued):
            return DialbackKey(reply.key)
        if isinstance(reply, Refused):
            raise KeyRefused(reply.reason, f"the key service issues no key: {reply.reason}")
        raise _unexpected(reply)

    async def verify(
        self, pair: DomainPair, stream: StreamId, key: DialbackKey, *, timeout_seconds: float
    ) -> Verdict:
        """Return what this key is worth. Raises KeyServiceUnavailable."""
        request = VerifyKey(*_triple(pair, stream), key.reveal())
        return _verdict(await self._ask(request, timeout_seconds))

    async def verify_all(
        self, asked: Sequence[Question], *, timeout_seconds: float
    ) -> list[Verdict]:
        """Return what these keys are worth, asked in one go. Raises KeyServiceUnavailable."""
        requests = [
            VerifyKey(*_triple(each.pair, each.stream), each.key.reveal()) for each in asked
        ]
        return [_verdict(reply) for reply in await self._ask_all(requests, timeout_seconds)]

    async def end(self, ended: Sequence[tuple[DomainPair, StreamId]]) -> None:
        """End the keys of these streams early. Best effort: an outage is not reported."""
        requests = [EndKey(*_triple(pair, stream)) for pair, stream in ended]
        with contextlib.suppress(KeyServiceUnavailable):
            await self._ask_all(requests, _END_SECONDS)

    async def _ask(self, request: Request, timeout_seconds: float) -> Reply:
        (reply,) = await self._ask_all([request], timeout_seconds)
        return reply

    async def _ask_all(self, requests: Sequence[Request], timeout_seconds: float) -> list[Reply]:
        if self._channel is None:
            raise KeyServiceUnavailable("not connected to the key service")
        return await self._channel.ask(requests, timeout_seconds)

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        pause_seconds = _FIRST_PAUSE_SECONDS
        refused = False
        while True:
            try:
                transport, channel = await loop.create_unix_connection(_Channel, str(self._socket))
            except OSError as error:
                self._failure = (error.strerror or str(error)).lower()
                log.debug("no key service at %s: %s", self._socket, self._failure)
            else:
                if not refused:
                    log.info("connected to the key service")
                try:
                    self._channel = channel
                    self._connected.set()
                    steady = await channel.lasts(_STEADY_SECONDS)
                    if steady and refused:
                        log.info("connected to the key service")
                        refused = False
                    await channel.lost.wait()
                finally:
                    self._channel = None
                    self._connected.clear()
                    transport.close()
                    channel.fail_all()
                if steady or channel.answered:
                    pause_seconds = _FIRST_PAUSE_SECONDS
                    log.warning("lost the key service")
                elif not refused:
                    refused = True
                    log.error(
                        "the key service at %s closes the connection at once; it serves its own "
                        "user and those it is given with --client-user, and we are uid %d",
                        self._socket,
                        os.geteuid(),
                    )
            await asyncio.sleep(pause_seconds * random.uniform(0.75, 1.0))  # noqa: S311
            pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)


class _Batch:
    """Requests made together, and those of their replies that are here."""

    __slots__ = ("first_id", "future", "missing", "replies")

    def __init__(self, first_id: int, size: int, future: asyncio.Future[list[Reply]]) -> None:
        self.first_id = first_id
        self.future = future
        self.missing = size
        self.replies: list[Reply] = [Done()] * size

    def fail(self, why: str) -> None:
        if not self.future.done():
            self.future.set_exception(KeyServiceUnavailable(why))


class _Channel(asyncio.Protocol):
    """One connection, and the requests under way on it by id."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.answered = False
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader()
        self._under_way: dict[int, _Batch] = {}
        self._next_id = 0

    async def lasts(self, seconds: float) -> bool:
        """Whether the connection is still there after so long; returns early when it is not."""
        try:
            async with asyncio.timeout(seconds):
                await self.lost.wait()
        except TimeoutError:
            return True
        return False

    async def ask(self, requests: Sequence[Request], timeout_seconds: float) -> list[Reply]:
        """Return keyd's replies, in the order of the requests. Raises KeyServiceUnavailable."""
        if self.lost.is_set():
            raise KeyServiceUnavailable("not connected to the key service")
        if len(self._under_way) + len(requests) > _MAX_UNDER_WAY:
            raise KeyServiceUnavailable("the key service is overloaded")
        first_id = self._next_id
        if first_id + len(requests) > _IDS:
            first_id = 0
        self._next_id = first_id + len(requests)
        ids = range(first_id, self._next_id)
        batch = _Batch(first_id, len(requests), self._loop.create_future())
        self._under_way.update(dict.fromkeys(ids, batch))
        self._send(list(zip(ids, requests, strict=True)))
        timer = self._loop.call_later(timeout_seconds, batch.fail, _TOO_LATE)
        try:
            return await batch.future
        finally:
            timer.cancel()
            if batch.missing:
                for message_id in ids:
                    self._under_way.pop(message_id, None)

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    def _send(self, asked: Sequence[tuple[int, Request]]) -> None:
        for start in range(0, len(asked), MAX_PER_FRAME):
            self._transport.write(encode_frame(asked[start : start + MAX_PER_FRAME]))

    def fail_all(self) -> None:
        self.lost.set()
        for batch in self._under_way.values():
            batch.fail("the key service is gone")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._reader.feed(data):
                self.answered = True
                for message_id, reply in decode_replies(payload):
                    self._receive(message_id, reply)
        except BadFrame as error:
            log.error("the key service answered nonsense: %s", error)
            self._transport.abort()

    def _receive(self, message_id: int, reply: Reply) -> None:
        batch = self._under_way.pop(message_id, None)
        if batch is None:
            return
        batch.replies[message_id - batch.first_id] = reply
        batch.missing -= 1
        if not batch.missing and not batch.future.done():
            batch.future.set_result(batch.replies)

    def connection_lost(self, error: Exception | None) -> None:
        self.fail_all()


def _triple(pair: DomainPair, stream: StreamId) -> tuple[str, str, str]:
    """Return sender, target and stream ID as plain text; msgpack takes no subclass of str."""
    return str(pair.sender), str(pair.target), str(stream)


def _verdict(reply: Reply) -> Verdict:
    """What the key service says of a key. Raises KeyServiceUnavailable."""
    if type(reply) is not Judged:
        raise _unexpected(reply)
    return _judged(reply.outcome, reply.reason)


@lru_cache(maxsize=64)
def _judged(outcome: str, reason: str | None) -> Verdict:
    if outcome == Outcome.ERROR.value:
        return Verdict.error(Condition.INTERNAL_SERVER_ERROR, reason or "unknown")
    return Verdict(Outcome(outcome), reason=reason)


def _unexpected(reply: Reply) -> KeyServiceUnavailable:
    if isinstance(reply, Failed):
        return KeyServiceUnavailable(f"the key service failed: {reply.reason}")
    return KeyServiceUnavailable(f"the key service answered with {type(reply).__name__}")
