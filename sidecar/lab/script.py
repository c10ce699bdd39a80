"""How a DNS server of the lab answers for a name: as it should, or badly in one known way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

import dns.flags
import dns.message
import dns.rcode


class Behaviour(Protocol):
    """Turns the right response into the one that is sent; None sends nothing."""

    async def __call__(
        self, request: dns.message.Message, response: dns.message.Message
    ) -> dns.message.Message | None: ...


@dataclass(frozen=True, slots=True)
class Respond:
    """As it should."""

    async def __call__(
        self, request: dns.message.Message, response: dns.message.Message
    ) -> dns.message.Message | None:
        return response


@dataclass(frozen=True, slots=True)
class Slow:
    """The right response, late."""

    seconds: float

    async def __call__(
        self, request: dns.message.Message, response: dns.message.Message
    ) -> dns.message.Message | None:
        await asyncio.sleep(self.seconds)
        return response


@dataclass(frozen=True, slots=True)
class Fail:
    """Only a response code: `Fail("SERVFAIL")`, `Fail("REFUSED")`."""

    rcode: str = "SERVFAIL"

    async def __call__(
        self, request: dns.message.Message, response: dns.message.Message
    ) -> dns.message.Message | None:
        failed = dns.message.make_response(request)
        failed.set_rcode(dns.rcode.from_text(self.rcode))
        return failed


@dataclass(frozen=True, slots=True)
class Lame:
    """Neither an answer nor an authority: what a server does that does not know the zone."""

    async def __call__(
        self, request: dns.message.Message, response: dns.message.Message
    ) -> dns.message.Message | None:
        empty = dns.message.make_response(request)
        empty.flags &= ~(dns.flags.AA | dns.flags.RA)
        return empty


@dataclass(frozen=True, slots=True)
class Silent:
    """No response at all."""

    async def __call__(
        self, request: dns.message.Message, response: dns.message.Message
    ) -> dns.message.Message | None:
        return None


@dataclass(frozen=True, slots=True)
class Truncate:
    """Over UDP only the demand to come back over TCP."""

    async def __call__(
        self, request: dns.message.Message, response: dns.message.Message
    ) -> dns.message.Message | None:
        return response
