"""One connection to dialback-keyd: many requests under way on it at once.

What is asked in one call shares a frame, and uvloop writes the frames of one turn together. When
the connection drops, everything under way fails at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import cast

from sidecar.errors import KeyServiceUnavailable
from sidecar.keys.framing import BadFrame, FrameReader, decode_replies, encode_frame
from sidecar.keys.messages import MAX_PER_FRAME, Done, Reply, Request

log = logging.getLogger(__name__)

_MAX_UNDER_WAY = 10_000
_MAX_UNSENT_BYTES = 4 << 20
"""Of one key service that has stopped to read: as much as fits under way, and a little more."""
_IDS = 1 << 32
_TOO_LATE = "the key service did not answer in time"


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


class Channel(asyncio.Protocol):
    """One connection, and the requests under way on it by id."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.answered = False
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader()
        self._under_way: dict[int, _Batch] = {}
        self._next_id = 0
        self._stuck = False

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
        if self._stuck or len(self._under_way) + len(requests) > _MAX_UNDER_WAY:
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
        self._transport.set_write_buffer_limits(_MAX_UNSENT_BYTES)

    def pause_writing(self) -> None:
        self._stuck = True

    def resume_writing(self) -> None:
        self._stuck = False

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
