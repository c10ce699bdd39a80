"""Notices a server whose process hangs while its kernel keeps the connection (XEP-0199).

White space proves nothing about the other end, so a quiet link asks: a ping from our own JID to
a domain of the server. The answer, also an error, is the one thing beside requests that the
module's isolation of the component lets through.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from sidecar.component.faults import SILENT
from sidecar.component.stream import ComponentStream
from sidecar.names import Domain


class KeepAlive:
    """Watches one link; `hosted` returns a domain known to be the server's, or a guess.

    Silence is held against the server only when the domain asked is known to be its own:
    a domain of someone else makes it look for that server, which takes as long as it takes.
    """

    def __init__(
        self,
        jid: Domain,
        *,
        first_guess: Domain | None,
        quiet_seconds: float,
        answer_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._jid = jid
        self._guess = first_guess
        self._hosted: Domain | None = None
        self._quiet_seconds = quiet_seconds
        self._answer_seconds = answer_seconds
        self._clock = clock
        self._asked_id = ""
        self._answered = asyncio.Event()

    def learn_hosted(self, domain: Domain) -> None:
        """An authenticated request came from `domain`."""
        self._hosted = domain

    def learn_answer(self, iq_id: str | None) -> bool:
        """An answer of any kind came for `iq_id`; return whether that was our ping."""
        if not iq_id or iq_id != self._asked_id:
            return False
        self._hosted = self._hosted or self._guess
        self._answered.set()
        return True

    async def watch(self, stream: ComponentStream) -> None:
        """Return when `stream` is closed, after closing it when the server fell silent."""
        while not stream.closed.done():
            quiet = self._clock() - stream.heard_at_seconds
            domain = self._hosted or self._guess
            if quiet < self._quiet_seconds:
                await _closed_within(stream, self._quiet_seconds - quiet)
            elif domain is None:
                await _closed_within(stream, self._quiet_seconds)
            else:
                asked_at = self._clock()
                stream.reply(self._ping(domain))
                await self._answered_within(stream, self._answer_seconds)
                if stream.heard_at_seconds < asked_at and domain == self._hosted:
                    stream.drop(SILENT)
                    await stream.closed

    async def _answered_within(self, stream: ComponentStream, seconds: float) -> None:
        answered = asyncio.ensure_future(self._answered.wait())
        first: list[asyncio.Future[Any]] = [answered, stream.closed]
        try:
            await asyncio.wait(first, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            answered.cancel()

    def _ping(self, domain: Domain) -> str:
        self._answered.clear()
        self._asked_id = f"alive-{secrets.token_hex(8)}"
        return (
            f"<iq type='get' id='{self._asked_id}' from='{self._jid}' to='{domain}'>"
            "<ping xmlns='urn:xmpp:ping'/></iq>"
        )


async def _closed_within(stream: ComponentStream, seconds: float) -> None:
    await asyncio.wait([stream.closed], timeout=seconds)
