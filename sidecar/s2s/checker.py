"""The `check` job: ask the sender domain's own server about a key (XEP-0220 §2.1.2)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from sidecar.jobs import Check, Condition, Evidence, Verdict
from sidecar.pkix.peer import Proven
from sidecar.s2s.credentials import Credentials
from sidecar.s2s.evidence import Certificates
from sidecar.s2s.failures import Failure, Reason
from sidecar.s2s.policy import is_literal, is_public
from sidecar.s2s.resolver import Resolver
from sidecar.s2s.search import Dialling, Search

log = logging.getLogger(__name__)


class Checker:
    """Checks keys, at most `max_checks` at once. Every failure is a verdict.

    See `Dialling` for the two other limits, which bound what one dead target can cost.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        credentials: Credentials | None = None,
        certificates: Certificates | None = None,
        accepted: Collection[Evidence] = frozenset(Evidence),
        allow_private_addresses: bool = False,
        max_checks: int = 256,
        connect_seconds: float = 3.0,
        negotiation_seconds: float = 5.0,
    ) -> None:
        self._dialling = Dialling(
            resolver=resolver,
            allowed=_any_address if allow_private_addresses else is_public,
            credentials=credentials or Credentials(),
            certificates=certificates or Certificates(),
            connect_seconds=connect_seconds,
            negotiation_seconds=negotiation_seconds,
        )
        self._accepted = frozenset(accepted)
        self._max_checks = max_checks
        self._running = 0

    async def check(self, check: Check, *, timeout_seconds: float = 12.0) -> Verdict:
        """Return the verdict with the best evidence there is, or the error that came instead.

        A certificate of the inbound stream that proves the sender domain is enough; else the
        Authoritative Server is asked, which may show the same certificate or answer.

        Never raises for what a peer, DNS or the network does.
        """
        refusal = self._refusal(check)
        if refusal is not None:
            return Failure(refusal).verdict
        accepted = self._accepted if check.require is None else {Evidence.CERTIFICATE}
        if Evidence.CERTIFICATE in accepted:
            found = self._dialling.certificates.inbound(check)
            if isinstance(found, Proven):
                return Verdict.valid(Evidence.CERTIFICATE, found.detail)
            if len(accepted) == 1:
                return Verdict.error(Condition.NOT_AUTHORIZED, found.flaw.value, found.detail)
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        search = Search(check, self._dialling, deadline, accepted)
        result: Verdict | Failure
        self._running += 1
        try:
            async with asyncio.timeout(timeout_seconds):
                result = await search.run()
        except TimeoutError:
            result = search.out_of_time()
        except Exception:
            log.exception("check %s failed by a fault of ours", check.pair)
            result = Failure(Reason.CHECK_FAILED)
        finally:
            self._running -= 1
        return result.verdict if isinstance(result, Failure) else result

    async def close(self) -> None:
        """Let go of the resolver. Checks under way end as errors."""
        await self._dialling.resolver.close()

    def _refusal(self, check: Check) -> Reason | None:
        """Why this is not even tried. Names that could be addresses are no domains to dial."""
        sender = check.pair.sender
        if sender.is_single_label or is_literal(sender):
            return Reason.SENDER_REFUSED
        return Reason.TOO_MANY_CHECKS if self._running >= self._max_checks else None


def _any_address(_: str) -> bool:
    return True
