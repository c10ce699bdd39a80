"""KeyClient: the sidecar's side of the socket to dialback-keyd.

It stays connected, and says in words of the sidecar what keyd answers.
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

from sidecar.engine import Question
from sidecar.errors import KeyRefused, KeyServiceUnavailable
from sidecar.jobs import Condition, Outcome, Verdict
from sidecar.key_client.channel import Channel
from sidecar.keys.messages import (
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


class KeyClient:
    """Asks dialback-keyd. `start` it before use and `close` it after, in one event loop."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._channel: Channel | None = None
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
                transport, channel = await loop.create_unix_connection(Channel, str(self._socket))
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
