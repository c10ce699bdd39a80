"""What all connections to the listener share, and what of it a new configuration changes."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from sidecar.config import AuthorityConfig, Config
from sidecar.config.link_domains import LinkDomains
from sidecar.engine import Engine
from sidecar.jobs import Check, Condition, Verdict
from sidecar.names import Domain, StreamId
from sidecar.protocol.authority_events import ResultAsked
from sidecar.s2s.authority.connection_count import ConnectionCount
from sidecar.s2s.authority.contexts import ServerContexts
from sidecar.s2s.authority.limits import Bounds, Patience, Price
from sidecar.s2s.authority.request_rate import RequestRate
from sidecar.s2s.authority.verify_batches import VerifyBatches

_DOMAINS = 4096
_REFUSED = Verdict.error(Condition.NOT_ACCEPTABLE, "receives-nothing")
_OWN_DOMAIN = Verdict.error(Condition.NOT_ACCEPTABLE, "own-domain")


class AuthorityService:
    """Whose domains, which certificates, how much for whom, and what has been counted."""

    def __init__(
        self,
        config: Config,
        contexts: ServerContexts,
        engine: Engine,
        patience: Patience,
        bounds: Bounds,
    ) -> None:
        self._engine = engine
        self.verify_batches = VerifyBatches(engine)
        self.buffer = memoryview(bytearray(bounds.read_bytes))
        """What one read brings, taken out before the next of any connection."""
        self.patience = patience
        self.bounds = bounds
        self.price = Price()
        self.clock = time.monotonic
        self.connection_count = ConnectionCount(0, 0)
        self.request_rate = RequestRate(1.0)
        self.counts: Counter[str] = Counter()
        self.take_up(config, contexts)

    def take_up(self, config: Config, contexts: ServerContexts) -> None:
        """Go by `config` from now on, for the streams that are there as well."""
        authority = config.authority
        self._config: AuthorityConfig = authority
        self._check_seconds = config.check.timeout_seconds
        self.contexts = contexts
        self.domains = sender_domains(config)
        self._speaks_for = lru_cache(_DOMAINS)(self._look_up)
        self.connection_count.in_all = authority.connections
        self.connection_count.per_network = authority.connections_per_network
        self.request_rate.per_second = authority.requests_per_second

    @property
    def requires_tls(self) -> bool:
        return not self._config.allow_cleartext

    def speaks_for(self, domain: Domain) -> bool:
        """Whether a sender domain is ours."""
        return self._speaks_for(domain)

    def _look_up(self, domain: Domain) -> bool:
        return any(domains.speaks_for(domain) for domains in self.domains)

    @staticmethod
    def new_id() -> StreamId:
        """A stream ID that nobody can guess (XEP-0185 §4)."""
        return StreamId(secrets.token_hex(16))

    async def check(self, asked: ResultAsked, *, encrypted: bool, ip: str | None) -> Verdict:
        """What becomes of a peer that wants its domain pair authorised."""
        if not self._config.check_peers:
            return _REFUSED
        if self.speaks_for(asked.pair.sender):
            return _OWN_DOMAIN
        check = Check(
            pair=asked.pair, stream=asked.stream, key=asked.key, encrypted=encrypted, ip=ip
        )
        verdict = await self._engine.answer(check, timeout_seconds=self._check_seconds)
        assert isinstance(verdict, Verdict)
        return verdict


def sender_domains(config: Config) -> Sequence[LinkDomains]:
    """The domains the listener answers for."""
    if config.authority.domains is not None:
        return [config.authority.domains]
    return [link.domains for link in config.link]
