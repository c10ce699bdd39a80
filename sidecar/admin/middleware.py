"""What every request passes: an id, the Host and Origin check, errors as problem documents."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Set
from urllib.parse import urlsplit

from aiohttp import web

from sidecar import logs
from sidecar.admin.problems import ProblemResponse, from_http, from_refusal, render
from sidecar.config.rules import is_loopback
from sidecar.errors import shorten
from sidecar.operations import Refusal

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_SAFE_METHODS = ("GET", "HEAD")


@web.middleware
async def answer_errors_as_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id (its own, if it is a good one), log it, and render what is raised."""
    wished = request.headers.get("X-Request-Id", "")
    request_id = wished if _REQUEST_ID.match(wished) else secrets.token_hex(8)
    try:
        response = await handler(request)
    except ProblemResponse as problem:
        response = render(problem, request_id)
    except Refusal as refusal:
        response = render(from_refusal(refusal), request_id)
    except web.HTTPException as error:
        response = render(from_http(error), request_id)
    except ConnectionError:
        raise  # the client is gone in the middle of its request
    except Exception:
        log.exception("request %s: %s %s failed", request_id, request.method, request.path)
        response = render(ProblemResponse("internal-error"), request_id)
    level = logging.DEBUG if request.method in _SAFE_METHODS else logging.INFO
    log.log(
        level,
        "request %s: %s %s: %d",
        request_id,
        request.method,
        shorten(request.path),
        response.status,
        extra=logs.fields(request_id=request_id, status=response.status),
    )
    if not response.prepared:
        response.headers["X-Request-Id"] = request_id
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def refuse_foreign_names(names: Set[str]) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Return the middleware against DNS rebinding.

    A web page that made its own name point to us sends that name as Host; a page of another site
    that posts to us sends its Origin. `names` are those that are ours, besides loopback.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not over_unix_socket(request) and not _is_ours(_name(request.host), names):
            raise ProblemResponse("host-not-allowed", f"Host is {shorten(request.host)}")
        origin = request.headers.get("Origin")
        if origin is not None and _authority(origin) != request.host:
            raise ProblemResponse("origin-not-allowed", f"Origin is {shorten(origin)}")
        return await handler(request)

    return check


def over_unix_socket(request: web.Request) -> bool:
    transport = request.transport
    return transport is not None and not isinstance(transport.get_extra_info("peername"), tuple)


def from_this_machine(request: web.Request) -> bool:
    """Whether the connection comes from this very machine."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return over_unix_socket(request) or (isinstance(peer, tuple) and is_loopback(str(peer[0])))


def _name(host: str) -> str:
    """The name or address in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _authority(origin: str) -> str:
    """Host and port of an Origin; empty when it has none (`null`), or is nonsense."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _is_ours(name: str, names: Set[str]) -> bool:
    return name in names or is_loopback(name)
