"""Events as they happen: Server-Sent Events, resumable by Last-Event-ID."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from sidecar.admin.authentication import identify, who_bears
from sidecar.admin.problems import ProblemResponse
from sidecar.keys.scopes import Scope
from sidecar.operations import Caller, Parts, Refusal
from sidecar.operations.events import Event

MAX_STREAMS = 64
CHECK_SECONDS = 2.0
_WRITE_SECONDS = 2.0
_EVENTS_AT_ONCE = 64
_RETRY_MS = 2000
_encoder = msgspec.json.Encoder()


class EventStream:
    """The handler. The token is looked at again every two seconds: a stream ends with it, also when
    nobody reads it."""

    def __init__(self, parts: Parts, *, check_seconds: float = CHECK_SECONDS) -> None:
        self._parts = parts
        self._check_seconds = check_seconds
        self._open = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        caller = await identify(request, self._parts)
        caller.need(Scope.HANDSHAKES_READ)
        if self._open >= MAX_STREAMS:
            raise ProblemResponse("too-many-streams", headers={"Retry-After": "5"})
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        self._open += 1
        try:
            await response.prepare(request)
            await self._send(response, caller, request.headers.get("Last-Event-ID"))
        except ConnectionError:
            pass  # the client is gone
        except TimeoutError:  # it does not read: what it misses it gets when it comes back
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._open -= 1
        return response

    async def _send(
        self, response: web.StreamResponse, caller: Caller, last_id: str | None
    ) -> None:
        await _write(response, f"retry: {_RETRY_MS}\n\n".encode())
        checked = _now()
        events = self._parts.events.follow(last_id, pause_seconds=self._check_seconds)
        async for happened in events:
            for start in range(0, max(1, len(happened)), _EVENTS_AT_ONCE):
                if _now() - checked >= self._check_seconds:
                    checked = _now()
                    try:
                        caller = await who_bears(caller.token, self._parts)
                        caller.need(Scope.HANDSHAKES_READ)
                    except Refusal as refusal:
                        await _write(response, f"event: end\ndata: {refusal.code}\n\n".encode())
                        return
                some = happened[start : start + _EVENTS_AT_ONCE]
                seen = [render(event) for event in some if _visible(event, caller)]
                await _write(response, b"".join(seen) or b": nothing new\n\n")


async def _write(response: web.StreamResponse, content: bytes) -> None:
    """Raises TimeoutError when the client does not read."""
    async with asyncio.timeout(_WRITE_SECONDS):
        await response.write(content)


def render(event: Event) -> bytes:
    """One event in the format of the HTML standard, §9.2.6."""
    content = event.make()
    data = b"{}" if content is None else _encoder.encode(content)
    return f"id: {event.id}\nevent: {event.kind}\ndata: ".encode() + data + b"\n\n"


def _visible(event: Event, caller: Caller) -> bool:
    return event.kind == "gap" or caller.may_see(event.domain)


def _now() -> float:
    return asyncio.get_running_loop().time()
