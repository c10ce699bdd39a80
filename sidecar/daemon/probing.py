"""Probes that an operator asks the daemon for, within bounds of their own."""

from __future__ import annotations

import logging
from time import monotonic

from sidecar.config import Config
from sidecar.engine import Engine
from sidecar.errors import Outage
from sidecar.jobs import Issue
from sidecar.key_client import KeyClient
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.operations.probe_report import ProbeReport
from sidecar.s2s.address_budget import AddressBudget, DialLimits
from sidecar.s2s.credentials import Credentials
from sidecar.s2s.evidence import Certificates, utc_now
from sidecar.s2s.probe.findings import Rule
from sidecar.s2s.probe.prober import Depth, Prober
from sidecar.s2s.probe.report import report_of
from sidecar.s2s.probe.stream import Trouble
from sidecar.s2s.resolver import Resolver

log = logging.getLogger(__name__)

AT_ONCE = 4
_SECONDS = 25.0
_DIALBACK_SECONDS = 15.0
_KEY_SECONDS = 3.0
_PER_ADDRESS = DialLimits(burst=24, per_second=0.5, prefix_burst=24, prefix_per_second=0.5)


class Probing:
    """A few at once, each with a time of its own; all of them dial one address so often and no
    more. DNS and certificates are read anew for each: what counts is what they are now."""

    def __init__(self, config: Config, engine: Engine, keys: KeyClient) -> None:
        self._config = config
        self._engine = engine
        self._keys = keys
        self._running = 0
        self._budget = AddressBudget(_PER_ADDRESS, monotonic)

    def take_up(self, config: Config) -> None:
        self._config = config

    async def probe(self, domain: Domain, sender: Domain | None) -> ProbeReport | None:
        """Return the report; None where there are too many at once."""
        if self._running >= AT_ONCE:
            return None
        self._running += 1
        try:
            return await self._probe(domain, sender)
        finally:
            self._running -= 1

    async def _probe(self, domain: Domain, sender: Domain | None) -> ProbeReport:
        check = self._config.check
        issued: list[tuple[DomainPair, StreamId]] = []

        async def issue(job: Issue) -> DialbackKey:
            key = await self._engine.answer(job, timeout_seconds=_KEY_SECONDS)
            if not isinstance(key, DialbackKey):
                raise Trouble(Rule.KEY_NOT_ISSUED, getattr(key, "reason", None) or "")
            issued.append((job.pair, job.stream))
            return key

        resolver = Resolver(check.nameservers)
        prober = Prober(
            resolver=resolver,
            certificates=Certificates(check.trusted_certificates),
            credentials=Credentials(self._config.certificate),
            now=utc_now,
            allow_private_addresses=check.allow_private_addresses,
            issue=issue,
            budget=self._budget,
            dialback_seconds=_DIALBACK_SECONDS,
            seconds=_SECONDS,
        )
        try:
            depth = Depth.TLS if sender is None else Depth.DIALBACK
            return report_of(await prober.probe(domain, local=sender, depth=depth))
        finally:
            await resolver.close()
            await self._forget(issued)

    async def _forget(self, issued: list[tuple[DomainPair, StreamId]]) -> None:
        """Nobody has cause to ask about the keys of a probe any more."""
        if not issued:
            return
        try:
            await self._keys.end(issued)
        except Outage as outage:
            log.warning("probe: %s", outage)
