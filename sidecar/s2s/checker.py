"""The `check` job: ask the sender domain's own server about a key (XEP-0220 §2.1.2)."""

from __future__ import annotations

import asyncio
import logging

from sidecar.jobs import Check, Evidence, Outcome, Verdict
from sidecar.s2s.failures import Failure, Reason
from sidecar.s2s.policy import is_literal, is_public
from sidecar.s2s.resolver import Resolver
from sidecar.s2s.search import Dialling, Search
from sidecar.s2s.tls import client_context

log = logging.getLogger(__name__)


class Checker:
    """Checks keys, at most `max_checks` at once. Every failure is a verdict.

    See `Dialling` for the two other limits, which bound what one dead target can cost.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        allow_private_addresses: bool = False,
        max_checks: int = 256,
        connect_seconds: float = 3.0,
        negotiation_seconds: float = 5.0,
    ) -> None:
        self._dialling = Dialling(
            resolver=resolver,
            allowed=_any_address if allow_private_addresses else is_public,
            starttls=client_context(),
            direct_tls=client_context(direct=True),
            connect_seconds=connect_seconds,
            negotiation_seconds=negotiation_seconds,
        )
        self._max_checks = max_checks
        self._running = 0

    async def check(self, check: Check, *, timeout_seconds: float = 12.0) -> Verdict:
        """Return what the Authoritative Server says, or the error that came instead.

        Never raises for what a peer, DNS or the network does.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        refusal = self._refusal(check)
        if refusal is not None:
            return _conclude(check, Failure(refusal), 0.0)
        search = Search(check, self._dialling, began + timeout_seconds)
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
        return _conclude(check, result, loop.time() - began)

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


def _conclude(check: Check, result: Outcome | Failure, seconds: float) -> Verdict:
    if isinstance(result, Failure):
        verdict, said = result.reason.verdict, str(result)
    elif result is Outcome.VALID:
        verdict, said = Verdict.valid(Evidence.KEY), "valid"
    else:
        verdict, said = Verdict.invalid("answer-invalid"), "invalid"
    level = logging.DEBUG if verdict.outcome is Outcome.VALID else logging.INFO
    log.log(level, "check %s: %s after %.0f ms", check.pair, said, seconds * 1000)
    return verdict
