"""The `check` job: ask the sender domain's own server about a key (XEP-0220 §2.1.2)."""

from __future__ import annotations

import asyncio
import logging

from sidecar.jobs import Check, Evidence, Outcome, Verdict
from sidecar.s2s.credentials import Credentials
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
        allow_private_addresses: bool = False,
        max_checks: int = 256,
        connect_seconds: float = 3.0,
        negotiation_seconds: float = 5.0,
    ) -> None:
        self._dialling = Dialling(
            resolver=resolver,
            allowed=_any_address if allow_private_addresses else is_public,
            credentials=credentials or Credentials(),
            connect_seconds=connect_seconds,
            negotiation_seconds=negotiation_seconds,
        )
        self._max_checks = max_checks
        self._running = 0

    async def check(self, check: Check, *, timeout_seconds: float = 12.0) -> Verdict:
        """Return what the Authoritative Server says, or the error that came instead.

        Never raises for what a peer, DNS or the network does.
        """
        refusal = self._refusal(check)
        if refusal is not None:
            return Failure(refusal).verdict
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        search = Search(check, self._dialling, deadline)
        result: Outcome | Failure
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
        return _verdict(result)

    async def close(self) -> None:
        """Let go of the resolver. Checks under way end as errors."""
        await self._dialling.resolver.close()

    def _refusal(self, check: Check) -> Reason | None:
        """Why this is not even tried. Names that could be addresses are no domains to dial."""
        if check.require is not None:
            return Reason.CERTIFICATE_REQUIRED
        sender = check.pair.sender
        if sender.is_single_label or is_literal(sender):
            return Reason.SENDER_REFUSED
        return Reason.TOO_MANY_CHECKS if self._running >= self._max_checks else None


def _any_address(_: str) -> bool:
    return True


def _verdict(result: Outcome | Failure) -> Verdict:
    if isinstance(result, Failure):
        return result.verdict
    if result is Outcome.VALID:
        return Verdict.valid(Evidence.KEY)
    return Verdict.invalid("answer-invalid")
