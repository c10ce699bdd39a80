"""One check: through the targets of the sender domain until one of them answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Set
from dataclasses import dataclass

from sidecar.jobs import Check, Evidence, Outcome, Verdict
from sidecar.peer_policy import Terms, refuse_shown
from sidecar.pkix.peer import Proven
from sidecar.s2s.address_budget import AddressBudget
from sidecar.s2s.channel import Answer, Channel
from sidecar.s2s.credentials import Credentials
from sidecar.s2s.dial import dial, place_of
from sidecar.s2s.evidence import Certificates
from sidecar.s2s.failures import Failure, Reason, furthest
from sidecar.s2s.gate import prefix_of
from sidecar.s2s.pool import Pool
from sidecar.s2s.resolver import Resolver
from sidecar.s2s.srv import Target
from sidecar.s2s.trace import Trace

MAX_ADDRESSES = 16
_LENT_SECONDS = 3.0
_FINAL = {Reason.PIN_MISMATCH}
"""Another server would be a way around it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dialling:
    """What all checks share: who may be dialled, how long that may take, TLS, open streams.

    A connection attempt takes at most `connect_seconds`; a connection has at most
    `negotiation_seconds` until the question is sent, while other targets are left.
    """

    resolver: Resolver
    allowed: Callable[[str], bool]
    credentials: Credentials
    certificates: Certificates
    budget: AddressBudget
    pool: Pool
    connect_seconds: float = 3.0
    negotiation_seconds: float = 5.0


class Search:
    """Asks one server after another. Once the question is sent, its fate is the result."""

    def __init__(
        self,
        check: Check,
        dialling: Dialling,
        deadline: float,
        terms: Terms,
        accepted: Set[Evidence],
        trace: Trace,
    ) -> None:
        self._check = check
        self._trace = trace
        self._terms = terms
        self._accepted = accepted
        self._dialling = dialling
        self._deadline = deadline
        self._failure: Failure | None = None
        self._late = Reason.DNS_TIMEOUT  # what it means when time runs out now
        self._asked = False
        self._addresses = 0
        # once TLS was offered there is no way back to cleartext
        self._tls_required = terms.needs_encryption

    async def run(self) -> Verdict | Failure:
        """Return the verdict (valid or invalid) or the failure that came furthest."""
        with self._trace.step("services") as note:
            targets = await self._dialling.resolver.targets(self._check.pair.sender)
            note.of(targets)
        if isinstance(targets, Failure):
            return targets
        for place, target in enumerate(targets):
            result = await self._try(target, targets_left=len(targets) - place)
            if not isinstance(result, Failure) or self._asked or result.reason in _FINAL:
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
        with self._trace.step("addresses", target.name) as note:
            addresses = await self._dialling.resolver.addresses(target.name)
            note.of(addresses)
        if isinstance(addresses, Failure):
            return addresses
        addresses = addresses[: MAX_ADDRESSES - self._addresses]
        self._addresses += len(addresses)
        verdict = await self._ask_open_stream(target, addresses)
        if verdict is not None:
            return verdict

        self._late = Reason.CONNECT_TIMEOUT
        loop = asyncio.get_running_loop()
        share_seconds = (self._deadline - loop.time()) / targets_left
        seconds = min(self._dialling.connect_seconds, share_seconds)
        try:
            with self._trace.step("connect") as note:
                async with asyncio.timeout(seconds):
                    connected = await dial(
                        addresses,
                        target.port,
                        allowed=self._dialling.allowed,
                        budget=self._dialling.budget,
                        prefix=prefix_of(self._check.ip),
                    )
                note.of(connected)
        except TimeoutError:
            return Failure(Reason.CONNECT_TIMEOUT, ", ".join(addresses))
        if isinstance(connected, Failure):
            return connected

        self._late = Reason.STREAM_TIMEOUT
        address, port = connected.getpeername()[:2]
        channel = self._channel(target, place_of((address, port)))
        answer = channel.prove(self._check, self._prove, ask=Evidence.KEY in self._accepted)
        kept = False
        try:
            await loop.create_connection(lambda: channel.connection, sock=connected)
            result = await self._answer(channel, answer, patient=targets_left == 1)
            if channel.opened.done() and not channel.ended:
                self._dialling.pool.keep(channel, (address, port))
                kept = True
            return result
        finally:
            if not kept:
                channel.close()
            if channel.dropped:
                log.warning(
                    "! %s: dropped %d answers nobody asked for", self._check.pair, channel.dropped
                )
            self._tls_required |= channel.tls_offered

    def _channel(self, target: Target, place: str) -> Channel:
        pair = self._check.pair
        self._tls_required |= target.direct_tls
        return Channel(
            local=pair.target,
            remote=pair.sender,
            place=place,
            context=self._dialling.credentials.context(pair.target, direct_tls=target.direct_tls),
            direct_tls=target.direct_tls,
            tls_required=self._tls_required,
        )

    def _prove(self, theirs: bytes) -> Proven | Failure | None:
        """Whether the certificate of the server is a pinned one, if there are pins, and the one
        the peer has shown (XEP-0344 §2.6)."""
        refusal = refuse_shown(self._terms, theirs)
        if refusal is not None:
            return Failure(Reason.PIN_MISMATCH, refusal.detail)
        if Evidence.SAME_CERTIFICATE not in self._accepted:
            return None
        return self._dialling.certificates.same(self._check, theirs)

    async def _answer(
        self, channel: Channel, answer: Answer, *, patient: bool
    ) -> Verdict | Failure:
        """Await the answer; unless `patient`, the question has to be out soon."""
        with self._trace.step("stream", channel.place) as note:
            await asyncio.wait(
                (channel.opened, answer),
                timeout=None if patient else self._dialling.negotiation_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not channel.opened.done():
                note.of(answer.result() if answer.done() else Failure(Reason.STREAM_TIMEOUT))
        if channel.opened.done():
            self._asked = True
            self._late = Reason.ANSWER_TIMEOUT
        elif not answer.done():
            return Failure(Reason.STREAM_TIMEOUT)
        with self._trace.step("answer") as note:
            result = await answer
            note.of(result)
        return result

    async def _ask_open_stream(self, target: Target, addresses: Collection[str]) -> Verdict | None:
        """The verdict over a stream that is open already, or None: then a new one decides.

        What goes wrong on a stream that others use says nothing about this check, and neither
        does `invalid` from a server that was dialled for another domain.
        """
        if Evidence.KEY not in self._accepted:
            return None
        pair = self._check.pair
        channel = self._dialling.pool.lend(
            pair.target,
            pair.sender,
            [(address, target.port) for address in addresses],
            direct_tls=target.direct_tls,
        )
        if channel is None or (self._tls_required and not channel.encrypted):
            return None
        if refuse_shown(self._terms, next(iter(channel.connection.certificates()), None)):
            return None
        self._tls_required |= channel.encrypted
        try:
            answer = channel.ask(self._check)
        except ValueError:
            return None
        self._late = Reason.ANSWER_TIMEOUT
        with self._trace.step("answer on an open stream", channel.place) as note:
            await asyncio.wait((answer,), timeout=_LENT_SECONDS)
            result = answer.result() if answer.done() else Failure(Reason.ANSWER_TIMEOUT)
            note.of(result)
        if not isinstance(result, Verdict):
            return None
        if result.outcome is Outcome.INVALID and channel.remote != pair.sender:
            return None
        return result
