"""Puts the admin side together: what the daemon is, as operators and Prometheus see it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sidecar.admin.server import AdminServer
from sidecar.admin.views import Health
from sidecar.component import LinkState, Phase
from sidecar.config import Config, LinkConfig, load
from sidecar.daemon.checkers import Checkers
from sidecar.daemon.links import Links
from sidecar.daemon.probing import Probing
from sidecar.daemon.watching import Watching
from sidecar.engine import Engine
from sidecar.errors import ConfigError, Problem
from sidecar.jobs import Evidence
from sidecar.key_client import KeyClient
from sidecar.metrics import AuthoritySample, LinkSample, Metrics, Snapshot
from sidecar.names import Domain
from sidecar.operations import Parts
from sidecar.operations.events import Events
from sidecar.operations.parts import AuthorityFacts, LinkFacts, Reloaded
from sidecar.s2s.authority.listener import AuthorityListener
from sidecar.store import History, PeerRules

log = logging.getLogger(__name__)

API_SOCKET = "api.sock"
_FIXED = ("state_directory", "keyd", "admin", "history", "log")
"""Tables that are read at the start only."""


class RunningDaemon:
    """What the parts of the daemon are doing now, and the configuration they do it by."""

    def __init__(
        self,
        config: Config,
        path: Path | None,
        keys: KeyClient,
        history: History,
        peer_rules: PeerRules,
    ) -> None:
        """`path` is where the configuration is read again; without one it cannot be."""
        self._config = config
        self._path = path
        self.keys = keys
        self.history = history
        self.peer_rules = peer_rules
        self._reloading = asyncio.Lock()
        self.links: Links | None = None
        self.checkers: Checkers | None = None
        self.authority: AuthorityListener | None = None
        self.watching: Watching | None = None
        self.probing: Probing | None = None
        self.api: AdminServer | None = None
        self.started_ms = time.time_ns() // 1_000_000
        self.api_failed: Sequence[str] = ()

    @property
    def key_service_is_child(self) -> bool:
        return self._config.keyd.socket is None

    def health(self) -> Health:
        """The key service, the rules about peers and each link: without one handshakes fail."""
        links = {f"link {state.jid}": is_up(state) for _, state in self.link_states()}
        rules_are_read = not self.peer_rules.fault
        parts = {"key service": self.keys.connected, "peer rules": rules_are_read}
        return Health(parts | links)

    def link_facts(self) -> Sequence[LinkFacts]:
        return [_facts(config, state) for config, state in self.link_states()]

    def authority_facts(self) -> AuthorityFacts | None:
        state = self.authority.state if self.authority is not None else None
        if state is None:
            return None
        return AuthorityFacts(state.places, state.domains, state.connections, state.counts)

    def speaks_for(self, domain: Domain) -> bool:
        return any(domains.speaks_for(domain) for domains in self._config.domains)

    def issues_keys_for(self, domain: Domain) -> bool:
        return domain in self._config.admin.issue_keys_for

    def snapshot(self) -> Snapshot:
        """What Prometheus sees beside what is counted."""
        seen = self.watching.seen if self.watching is not None else None
        return Snapshot(
            links=[_sample(state) for _, state in self.link_states()],
            authority=self._authority_sample(),
            key_service_up=self.keys.connected,
            peer_rules_up=not self.peer_rules.fault,
            history_lost=self.history.lost,
            secrets=seen.secrets if seen else (),
            live_keys=seen.live_keys if seen else None,
            alarms=seen.alarms if seen else (),
        )

    def _authority_sample(self) -> AuthoritySample | None:
        state = self.authority.state if self.authority is not None else None
        return None if state is None else AuthoritySample(state.connections, state.counts)

    def link_states(self) -> Sequence[tuple[LinkConfig, LinkState]]:
        return [] if self.links is None else self.links.states

    async def reload(self) -> Reloaded | Sequence[Problem]:
        """Take up the configuration file; one that cannot be used changes nothing."""
        assert self.links is not None and self.checkers is not None and self.api is not None
        async with self._reloading:
            if self._path is None:
                return [Problem("file", "the daemon was started without a file")]
            try:
                config = load(self._path)
                self.api.take_up_certificate()
                await self._take_up_s2s(config)
            except ConfigError as error:
                log.error("%s\nthe configuration in use stays as it is", error)
                return error.problems
            except OSError as error:
                log.error("%s; the configuration in use stays as it is", error)
                return [Problem("certificate", str(error))]
            self.peer_rules.take_up(accepted_evidence(config))
            await self.peer_rules.open()
            added, removed, changed = await self.links.take_up(config)
            restart = [n for n in _FIXED if getattr(config, n) != getattr(self._config, n)]
            self._config = config
            if self.probing is not None:
                self.probing.take_up(config)
            log.info("took up %s: %s", self._path, _told(added, removed, changed, restart))
            return Reloaded(added, removed, changed, restart)

    async def _take_up_s2s(self, config: Config) -> None:
        """Both or none. Raises OSError."""
        assert self.checkers is not None and self.authority is not None
        await self.authority.take_up(config)
        try:
            self.checkers.take_up(config)
        except OSError:
            await self.authority.take_up(self._config)
            raise


@asynccontextmanager
async def administration(
    config: Config, daemon: RunningDaemon, engine: Engine, metrics: Metrics, events: Events
) -> AsyncIterator[None]:
    """The admin API and the watch over what it shows, while the context lasts."""
    keys, history = daemon.keys, daemon.history
    daemon.probing = Probing(config, engine, keys)
    server = AdminServer(
        config.admin,
        config.admin.socket or config.state_directory / API_SOCKET,
        Parts(keys, engine, history, daemon.peer_rules, events, daemon, daemon.probing),
        health=daemon.health,
        exposition=metrics.exposition,
    )
    daemon.watching = Watching(keys, daemon.link_facts, events)
    try:
        daemon.api = server
        daemon.watching.start()
        await server.start()
        daemon.api_failed = server.failed
        yield
    finally:
        await server.close()
        await daemon.watching.close()


def accepted_evidence(config: Config) -> list[Evidence]:
    """What may prove a peer's domain where no rule says it."""
    return [Evidence(evidence) for evidence in config.check.evidence]


def is_up(state: LinkState) -> bool:
    return state.phase is Phase.CONNECTED


def _facts(config: LinkConfig, state: LinkState) -> LinkFacts:
    fault = state.last_fault
    return LinkFacts(
        jid=str(state.jid),
        phase=state.phase.value,
        since_seconds=state.since_seconds,
        fault=fault.kind.value if fault else "",
        fault_text=str(fault) if fault else "",
        connects=state.counts.get("connects", 0),
        in_work=state.in_work,
        domains=config.domains.patterns,
    )


def _sample(state: LinkState) -> LinkSample:
    requests = dict(state.counts)
    connects = requests.pop("connects", 0)
    return LinkSample(str(state.jid), is_up(state), connects, requests)


def _told(added: list[str], removed: list[str], changed: list[str], restart: list[str]) -> str:
    parts = [("added", added), ("removed", removed), ("changed", changed)]
    told = [f"{verb} {', '.join(names)}" for verb, names in parts if names]
    if restart:
        told.append(f"a restart is needed for {', '.join(restart)}")
    return "; ".join(told) or "no link differs"
