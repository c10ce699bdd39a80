"""The authority listener: its sockets, its clock, and what operators see of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sidecar.config import Config
from sidecar.config.authority_rules import PORT, TLS_PORT
from sidecar.config.rules import split_address
from sidecar.engine import Engine
from sidecar.s2s.authority.connection import AuthorityConnection
from sidecar.s2s.authority.contexts import ServerContexts
from sidecar.s2s.authority.limits import Bounds, Patience
from sidecar.s2s.authority.service import AuthorityService

log = logging.getLogger(__name__)

_BACKLOG = 512
_TEND_SECONDS = 0.25
_SPARE_DESCRIPTORS = 256
_PATIENCE, _BOUNDS = Patience(), Bounds()

_Place = tuple[str, int, bool]
"""Address, port, and whether TLS comes first."""


@dataclass(frozen=True, slots=True)
class ListenerState:
    """The listener at this moment; `counts` since the start, by what happened."""

    places: Sequence[str]
    domains: Sequence[str]
    connections: int
    counts: Mapping[str, int]


class AuthorityListener:
    """Listens as the configuration says, which may be nowhere."""

    def __init__(
        self,
        config: Config,
        engine: Engine,
        *,
        patience: Patience = _PATIENCE,
        bounds: Bounds = _BOUNDS,
    ) -> None:
        """Raises OSError when a certificate cannot be used."""
        self._config = config
        self._service = AuthorityService(config, _contexts(config), engine, patience, bounds)
        self._connections: set[AuthorityConnection] = set()
        self._servers: dict[_Place, asyncio.AbstractServer] = {}
        self._tending: asyncio.Task[None] | None = None

    @property
    def state(self) -> ListenerState | None:
        """None where it listens nowhere."""
        if not self._servers:
            return None
        return ListenerState(
            places=[_told(place) for place in self._servers],
            domains=[p for domains in self._service.domains for p in domains.patterns],
            connections=self._service.connection_count.taken,
            counts=dict(self._service.counts),
        )

    async def start(self) -> None:
        """Raises OSError, naming the address that cannot be taken."""
        await self._listen(_places(self._config))
        self._bound_by_descriptors()

    async def take_up(self, config: Config) -> None:
        """Change to another configuration. Raises OSError, and then nothing has changed.

        Streams stay, also those that came in where nobody listens any more.
        """
        contexts = _contexts(config)
        wanted = _places(config)
        await self._listen([place for place in wanted if place not in self._servers])
        for place in set(self._servers).difference(wanted):
            self._servers.pop(place).close()
            log.info("no authority on %s any more", _told(place))
        self._config = config
        self._service.take_up(config, contexts)
        self._bound_by_descriptors()

    async def close(self) -> None:
        """End every stream, and listen no more."""
        if self._tending is not None:
            self._tending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._tending
        for server in self._servers.values():
            server.close()
        self._servers.clear()
        for connection in list(self._connections):
            connection.close("system-shutdown")

    async def _listen(self, places: Sequence[_Place]) -> None:
        loop = asyncio.get_running_loop()
        opened: dict[_Place, asyncio.AbstractServer] = {}
        try:
            for place in places:
                address, port, direct_tls = place
                opened[place] = await loop.create_server(
                    partial(
                        AuthorityConnection,
                        self._service,
                        self._connections,
                        direct_tls=direct_tls,
                    ),
                    address,
                    port,
                    backlog=_BACKLOG,
                )
        except OSError as error:
            for server in opened.values():
                server.close()
            raise OSError(f"authority {_told(place)}: {error.strerror or error}") from error
        self._servers |= opened
        for place in opened:
            log.info("authority listens on %s", _told(place))
        if self._servers and self._tending is None:
            self._tending = asyncio.create_task(self._tend(), name="authority")

    def _bound_by_descriptors(self) -> None:
        """Connections must not take the files that all the rest of the daemon needs."""
        if self._servers:
            count = self._service.connection_count
            count.in_all = min(count.in_all, _allow_descriptors(count.in_all))

    async def _tend(self) -> None:
        clock = self._service.clock
        while True:
            due, worked = clock() + _TEND_SECONDS, time.thread_time()
            await asyncio.sleep(_TEND_SECONDS)
            now = clock()
            # not what the machine gave to others: it would be no less if we were asked less
            late = min(now - due, time.thread_time() - worked)
            self._service.request_rate.note_lateness(late)
            for connection in list(self._connections):
                connection.tend(now)


def _contexts(config: Config) -> ServerContexts:
    return ServerContexts(config.certificate if config.authority.enabled else ())


def _places(config: Config) -> list[_Place]:
    places: list[_Place] = []
    for texts, port, direct_tls in (
        (config.authority.listen, PORT, False),
        (config.authority.listen_tls, TLS_PORT, True),
    ):
        for text in texts:
            split = split_address(text, default_port=port)
            assert split is not None  # the configuration was checked
            places.append((*split, direct_tls))
    return places


def _told(place: _Place) -> str:
    address, port, direct_tls = place
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{port}{' (TLS)' if direct_tls else ''}"


def _allow_descriptors(connections: int) -> int:
    """Ask the kernel for as many open files as there may be connections; return how many there
    may be then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _SPARE_DESCRIPTORS
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    if hard >= wanted:
        return connections
    fitting = max(1, hard - _SPARE_DESCRIPTORS)
    log.warning("only %d files may be open: %d connections, not %d", hard, fitting, connections)
    return fitting
