"""The resources that need no token on this machine: alive, ready, metrics, the contract."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from aiohttp import web

from sidecar.admin.api import answer
from sidecar.admin.authentication import identify
from sidecar.admin.middleware import from_this_machine
from sidecar.admin.openapi import document
from sidecar.keys.scopes import Scope
from sidecar.operations import Parts

METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Health:
    """What this daemon needs to answer handshakes, each by name and whether it is there."""

    parts: Mapping[str, bool]

    @property
    def ready(self) -> bool:
        return all(self.parts.values())


class Views:
    """Handlers over what the daemon knows of itself."""

    def __init__(
        self,
        parts: Parts,
        health: Callable[[], Health],
        exposition: Callable[[Collection[str] | None], bytes],
    ) -> None:
        self._parts = parts
        self._health = health
        self._exposition = exposition
        self._document = document()

    async def alive(self, _: web.Request) -> web.Response:
        """The process runs and its event loop turns."""
        return answer({"status": "alive"})

    async def ready(self, _: web.Request) -> web.Response:
        """200 when the key service and every link are up, 503 otherwise."""
        health = self._health()
        status = "ready" if health.ready else "not-ready"
        content = {"status": status, "parts": health.parts}
        return answer(content, 200 if health.ready else 503)

    async def contract(self, _: web.Request) -> web.Response:
        return answer(self._document)

    async def metrics(self, request: web.Request) -> web.Response:
        """The exposition. A token for some domains sees their time series only."""
        hosts: Collection[str] | None = None
        if "Authorization" in request.headers or not from_this_machine(request):
            caller = await identify(request, self._parts)
            caller.need(Scope.METRICS_READ)
            hosts = caller.domains
        return web.Response(
            body=self._exposition(hosts), headers={"Content-Type": METRICS_CONTENT_TYPE}
        )
