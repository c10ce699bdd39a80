"""The resources that need no token: alive, ready, and the metrics for this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
from aiohttp import web

from sidecar.admin.middleware import from_this_machine
from sidecar.admin.problems import ProblemResponse

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

    def __init__(self, health: Callable[[], Health], exposition: Callable[[], bytes]) -> None:
        self._health = health
        self._exposition = exposition

    async def alive(self, _: web.Request) -> web.Response:
        """The process runs and its event loop turns."""
        return _json(200, {"status": "alive"})

    async def ready(self, _: web.Request) -> web.Response:
        """200 when the key service and every link are up, 503 otherwise."""
        health = self._health()
        status = "ready" if health.ready else "not-ready"
        return _json(200 if health.ready else 503, {"status": status, "parts": health.parts})

    async def metrics(self, request: web.Request) -> web.Response:
        """The exposition, for whoever is on this machine."""
        if not from_this_machine(request):
            raise ProblemResponse("not-found")
        return web.Response(body=self._exposition(), headers={"Content-Type": METRICS_CONTENT_TYPE})


def _json(status: int, content: object) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(content), content_type="application/json"
    )
