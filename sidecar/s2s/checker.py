"""The `check` job: ask the sender domain's own server about a key (XEP-0220 §2.1.2)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Set
from dataclasses import replace
from time import monotonic

from sidecar.jobs import Check, Condition, Evidence, Verdict
from sidecar.peer_policy import Terms
from sidecar.pkix.peer import Proven
from sidecar.s2s.address_budget import AddressBudget, DialLimits
from sidecar.s2s.address_policy import is_literal, is_public
from sidecar.s2s.credentials import Credentials
from sidecar.s2s.evidence import Certificates
from sidecar.s2s.failures import Failure, Reason
from sidecar.s2s.gate import Gate, GateLimits
from sidecar.s2s.pool import Pool
from sidecar.s2s.resolver import Resolver
from sidecar.s2s.search import Dialling, Search
from sidecar.s2s.trace import Trace

log = logging.getLogger(__name__)

_NO_RULE = Terms()


class Checker:
    """Checks keys. Every failure is a verdict.

    See `GateLimits`, `DialLimits` and `Dialling` for what bounds the cost, and `Pool` for
    `idle_seconds`.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        credentials: Credentials | None = None,
        certificates: Certificates | None = None,
        allow_private_addresses: bool = False,
        gate: GateLimits | None = None,
        dials: DialLimits | None = None,
        idle_seconds: float = 0.0,
        connect_seconds: float = 3.0,
        negotiation_seconds: float = 5.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        certificates = certificates or Certificates()
        self._dialling = Dialling(
            resolver=resolver,
            allowed=_any_address if allow_private_addresses else is_public,
            credentials=credentials or Credentials(),
            certificates=certificates,
            budget=AddressBudget(dials or DialLimits(), clock),
            pool=Pool(certificates, idle_seconds),
            connect_seconds=connect_seconds,
            negotiation_seconds=negotiation_seconds,
        )
        self._clock = clock
        self._gate = Gate(gate or GateLimits())

    async def check(
        self, check: Check, terms: Terms = _NO_RULE, *, timeout_seconds: float = 12.0
    ) -> Verdict:
        """Return the verdict with the best evidence there is, or the error that came instead.

        What `terms` ask of the peer's stream to us has been seen to (`refuse_check`).

        A certificate of the inbound stream that proves the sender domain is enough; else the
        Authoritative Server is asked, which may show the same certificate or answer.
        Never raises for what a peer, DNS or the network does.
        """
        if _may_be_an_address(check):
            return Failure(Reason.SENDER_REFUSED).verdict
        trace = Trace(self._clock)
        try:
            result = await self._decide(check, terms, timeout_seconds, trace)
        except Exception:
            log.exception("check %s failed by a fault of ours", check.pair)
            result = Failure(Reason.CHECK_FAILED)
        log.debug("= check %s: %s", check.pair, trace)
        verdict = result.verdict if isinstance(result, Failure) else result
        return replace(verdict, steps=trace.steps)

    async def _decide(
        self, check: Check, terms: Terms, timeout_seconds: float, trace: Trace
    ) -> Verdict | Failure:
        accepted = terms.evidence
        if check.require is not None:
            accepted &= {Evidence.CERTIFICATE}
            if not accepted:
                return Failure(Reason.EVIDENCE_MISSING)
        if Evidence.CERTIFICATE in accepted:
            with trace.step("certificate") as note:
                found = self._dialling.certificates.inbound(check)
                note.of(found)
            if isinstance(found, Proven):
                return Verdict.valid(Evidence.CERTIFICATE, found.detail)
            if len(accepted) == 1:
                return Verdict.error(Condition.NOT_AUTHORIZED, found.flaw.value, found.detail)
        return await self._search(check, terms, accepted, timeout_seconds, trace)

    async def _search(
        self,
        check: Check,
        terms: Terms,
        accepted: Set[Evidence],
        timeout_seconds: float,
        trace: Trace,
    ) -> Verdict | Failure:
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        search = Search(check, self._dialling, deadline, terms, accepted, trace)
        room = self._gate.room(check.ip, check.pair.sender)
        admitted = False
        try:
            async with asyncio.timeout(timeout_seconds):
                with trace.step("room") as note:
                    refusal = await room.enter()
                    if refusal is not None:
                        note.of(Failure(refusal))
                        return Failure(refusal)
                admitted = True
                return await search.run()
        except TimeoutError:
            return search.out_of_time() if admitted else Failure(Reason.TOO_MANY_CHECKS)
        finally:
            room.leave()

    async def close(self) -> None:
        """Close all streams and let go of the resolver. Checks under way end as errors."""
        self._dialling.pool.close()
        await self._dialling.resolver.close()


def _may_be_an_address(check: Check) -> bool:
    """Whether the sender domain is a name that something could take for an address to dial."""
    return check.pair.sender.is_single_label or is_literal(check.pair.sender)


def _any_address(_: str) -> bool:
    return True
