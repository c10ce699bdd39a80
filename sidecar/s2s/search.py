"""One check: through the targets of the sender domain until one of them answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from sidecar.jobs import Check, Evidence, Verdict
from sidecar.pkix.peer import Proven
from sidecar.protocol.verify_stream import VerifyStream
from sidecar.s2s.attempt import Attempt
from sidecar.s2s.connection import VerifyConnection
from sidecar.s2s.credentials import Credentials
from sidecar.s2s.dial import dial, place_of
from sidecar.s2s.evidence import Certificates
from sidecar.s2s.failures import Failure, Reason, furthest
from sidecar.s2s.resolver import Resolver
from sidecar.s2s.srv import Target

MAX_ADDRESSES = 16

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dialling:
    """What all checks share: who may be dialled, how long that may take, and TLS.

    A connection attempt takes at most `connect_seconds`; a connection has at most
    `negotiation_seconds` until the question is sent, while other targets are left.
    """

    resolver: Resolver
    allowed: Callable[[str], bool]
    credentials: Credentials
    certificates: Certificates
    connect_seconds: float = 3.0
    negotiation_seconds: float = 5.0


class Search:
    """Asks one server after another. Once the question is sent, its fate is the result."""

    def __init__(
        self, check: Check, dialling: Dialling, deadline: float, accepted: Collection[Evidence]
    ) -> None:
        self._check = check
        self._accepted = accepted
        self._dialling = dialling
        self._deadline = deadline
        self._failure: Failure | None = None
        self._late = Reason.DNS_TIMEOUT  # what it means when time runs out now
        self._asked = False
        self._addresses = 0
        self._tls_required = False  # once TLS was offered there is no way back to cleartext

    async def run(self) -> Verdict | Failure:
        """Return the verdict (valid or invalid) or the failure that came furthest."""
        targets = await self._dialling.resolver.targets(self._check.pair.sender)
        if isinstance(targets, Failure):
            return targets
        for place, target in enumerate(targets):
            result = await self._try(target, targets_left=len(targets) - place)
            if not isinstance(result, Failure) or self._asked:
                return result
            log.debug("= %s at %s port %d: %s", self._check.pair, target.name, target.port, result)
            self._failure = furthest(self._failure, result)
            if self._addresses >= MAX_ADDRESSES:
                break
        assert self._failure is not None
        return self._failure

    def out_of_time(self) -> Failure:
        """What to report when the deadline came first."""
        return furthest(self._failure, Failure(self._late))

    async def _try(self, target: Target, *, targets_left: int) -> Verdict | Failure:
        self._late = Reason.DNS_TIMEOUT
        addresses = await self._dialling.resolver.addresses(target.name)
        if isinstance(addresses, Failure):
            return addresses
        addresses = addresses[: MAX_ADDRESSES - self._addresses]
        self._addresses += len(addresses)

        self._late = Reason.CONNECT_TIMEOUT
        loop = asyncio.get_running_loop()
        share_seconds = (self._deadline - loop.time()) / targets_left
        try:
            async with asyncio.timeout(min(self._dialling.connect_seconds, share_seconds)):
                connected = await dial(addresses, target.port, allowed=self._dialling.allowed)
        except TimeoutError:
            return Failure(Reason.CONNECT_TIMEOUT, ", ".join(addresses))
        if isinstance(connected, Failure):
            return connected

        self._late = Reason.STREAM_TIMEOUT
        attempt = Attempt(
            place_of(connected.getpeername()),
            self._prove,
            asks=Evidence.KEY in self._accepted,
        )
        connection = self._connection(target, attempt)
        try:
            await loop.create_connection(lambda: connection, sock=connected)
            return await self._answer(attempt, patient=targets_left == 1)
        finally:
            connection.close()
            if attempt.dropped:
                log.warning(
                    "! %s: dropped %d answers nobody asked for", self._check.pair, attempt.dropped
                )
            self._tls_required |= attempt.tls_offered

    def _prove(self, theirs: bytes) -> Proven | None:
        """Whether the certificate of the server is the one the peer has shown (XEP-0344 §2.6)."""
        if Evidence.SAME_CERTIFICATE not in self._accepted:
            return None
        return self._dialling.certificates.same(self._check, theirs)

    def _connection(self, target: Target, attempt: Attempt) -> VerifyConnection:
        pair = self._check.pair
        self._tls_required |= target.direct_tls
        stream = VerifyStream(
            local=pair.target,
            remote=pair.sender,
            encrypted=target.direct_tls,
            tls_required=self._tls_required,
        )
        if Evidence.KEY in self._accepted:
            stream.verify(pair, self._check.stream, self._check.key)
        return VerifyConnection(
            stream,
            domain=pair.sender,
            context=self._dialling.credentials.context(pair.target, direct_tls=target.direct_tls),
            direct_tls=target.direct_tls,
            on_event=attempt.on_event,
        )

    async def _answer(self, attempt: Attempt, *, patient: bool) -> Verdict | Failure:
        """Await the answer; unless `patient`, the question has to be out soon."""
        await asyncio.wait(
            (attempt.opened, attempt.answer),
            timeout=None if patient else self._dialling.negotiation_seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if attempt.opened.done():
            self._asked = True
            self._late = Reason.ANSWER_TIMEOUT
        elif not attempt.answer.done():
            return Failure(Reason.STREAM_TIMEOUT)
        return await attempt.answer
