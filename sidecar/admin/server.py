"""The admin API as a part of the daemon: started and stopped with it."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from aiohttp import web

from sidecar.admin.api import add_operations
from sidecar.admin.connection import Connection
from sidecar.admin.event_stream import EventStream
from sidecar.admin.listeners import Listeners
from sidecar.admin.middleware import answer_errors_as_problems, refuse_foreign_names
from sidecar.admin.routes import EVENTS_PATH
from sidecar.admin.views import Health, Views
from sidecar.config import AdminConfig
from sidecar.config.rules import split_address
from sidecar.operations import Parts

MAX_BODY_BYTES = 64 * 1024
_SHUTDOWN_SECONDS = 2.0
_LINGER_SECONDS = 2.0
"""For the rest of a body that was refused."""
_IDLE_SECONDS = 30.0
"""For a whole request head to arrive, and between requests."""


class AdminServer:
    """One application on every address of the configuration."""

    def __init__(
        self,
        config: AdminConfig,
        unix_path: Path,
        parts: Parts,
        *,
        health: Callable[[], Health],
        exposition: Callable[[Collection[str] | None], bytes],
    ) -> None:
        """`exposition` returns the metrics, of some domains of ours or of all (None)."""
        self._config = config
        self._unix_path = unix_path
        self._runner = web.AppRunner(
            _application(config, parts, Views(parts, health, exposition)),
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        self._listeners: Listeners | None = None
        self.failed: list[str] = []
        """Addresses where it does not listen although it should."""

    async def start(self) -> None:
        """Listen. What cannot be listened on is in `failed` and in the log."""
        await self._runner.setup()
        assert self._runner.server is not None
        connect = partial(
            Connection,
            self._runner.server,
            loop=asyncio.get_running_loop(),
            access_log=_quiet(),
            logger=_quiet(),
            auto_decompress=False,
            keepalive_timeout=_IDLE_SECONDS,
            lingering_time=_LINGER_SECONDS,
        )
        self._listeners = Listeners(self._config, self._unix_path, connect)
        self.failed = await self._listeners.start()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._runner.server.connections) if self._runner.server else 0

    def take_up_certificate(self) -> None:
        """Read the certificate again. Raises OSError, and then the one in use stays."""
        if self._listeners is not None:
            self._listeners.take_up_certificate()

    async def close(self) -> None:
        if self._listeners is not None:
            self._listeners.close()
        await self._runner.cleanup()
        if str(self._unix_path) not in self.failed:
            self._unix_path.unlink(missing_ok=True)


def _quiet() -> logging.Logger:
    """aiohttp's own log: a stack trace for whatever is no HTTP. Faults of ours are logged by us."""
    logger = logging.getLogger("sidecar.admin.http")
    logger.setLevel(logging.CRITICAL)
    return logger


def _application(config: AdminConfig, parts: Parts, views: Views) -> web.Application:
    application = web.Application(
        middlewares=[answer_errors_as_problems, refuse_foreign_names(_names(config))],
        client_max_size=MAX_BODY_BYTES,
    )
    application.router.add_get("/healthz", views.alive)
    application.router.add_get("/readyz", views.ready)
    application.router.add_get("/metrics", views.metrics)
    application.router.add_get("/openapi.json", views.contract)
    application.router.add_get(EVENTS_PATH, EventStream(parts).handle, allow_head=False)
    add_operations(application, parts)
    return application


def _names(config: AdminConfig) -> frozenset[str]:
    """The names a client may call us by: where we listen, and what the configuration adds."""
    names = {name.lower() for name in config.hosts}
    for address in config.listen:
        split = split_address(address)
        if split is not None and not ipaddress.ip_address(split[0]).is_unspecified:
            names.add(split[0])
    return frozenset(names)
