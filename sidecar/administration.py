"""Puts the admin side together: what the daemon is, as operators and Prometheus see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sidecar.admin import AdminServer, Health
from sidecar.component import LinkState, Phase
from sidecar.config import Config
from sidecar.key_client import KeyClient
from sidecar.links import Links
from sidecar.metrics import LinkSample, Metrics, Snapshot
from sidecar.store import History

API_SOCKET = "api.sock"


class Situation:
    """What the parts of the daemon are doing now."""

    def __init__(self, keys: KeyClient, history: History) -> None:
        self._keys = keys
        self._history = history
        self.links: Links | None = None

    def health(self) -> Health:
        """The key service and each link: without one of them handshakes fail."""
        links = {f"link {state.jid}": is_up(state) for state in self._link_states()}
        return Health({"key service": self._keys.connected, **links})

    def snapshot(self) -> Snapshot:
        return Snapshot(
            links=[_sample(state) for state in self._link_states()],
            key_service_up=self._keys.connected,
            history_lost=self._history.lost,
        )

    def _link_states(self) -> list[LinkState]:
        return [] if self.links is None else list(self.links.states)


@asynccontextmanager
async def administration(
    config: Config, situation: Situation, metrics: Metrics
) -> AsyncIterator[None]:
    """The admin API, while the context lasts."""
    server = AdminServer(
        config.admin,
        config.admin.socket or config.state_directory / API_SOCKET,
        health=situation.health,
        exposition=metrics.exposition,
    )
    try:
        await server.start()
        yield
    finally:
        await server.close()


def is_up(state: LinkState) -> bool:
    return state.phase is Phase.CONNECTED


def _sample(state: LinkState) -> LinkSample:
    requests = dict(state.counts)
    connects = requests.pop("connects", 0)
    return LinkSample(str(state.jid), is_up(state), connects, requests)
