"""Every error as a problem document (RFC 9457), with a stable `type` and `code`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from aiohttp import web

from sidecar.operations import REFUSALS, Refusal, RefusalKind

CONTENT_TYPE = "application/problem+json"

STATUS: Mapping[RefusalKind, int] = {
    RefusalKind.INPUT: 400,
    RefusalKind.UNKNOWN_CALLER: 401,
    RefusalKind.FORBIDDEN: 403,
    RefusalKind.MISSING: 404,
    RefusalKind.CONFLICT: 409,
    RefusalKind.STALE: 412,
    RefusalKind.UNPROCESSABLE: 422,
    RefusalKind.BUSY: 429,
    RefusalKind.OUTAGE: 503,
}
PROBLEMS: Mapping[str, tuple[int, str]] = {
    "malformed-json": (400, "The body is not JSON"),
    "malformed-request": (400, "The request is not HTTP as we take it"),
    "host-not-allowed": (403, "This name is not ours"),
    "origin-not-allowed": (403, "Requests from this web page are not taken"),
    "not-found": (404, "There is nothing here"),
    "method-not-allowed": (405, "This method is not for this resource"),
    "request-too-slow": (408, "The body did not arrive in time"),
    "body-too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body must be application/json"),
    "too-many-streams": (429, "Too many event streams are open"),
    "internal-error": (500, "A fault of ours; the log has more under this request id"),
    "too-many-connections": (503, "Too many connections are open"),
    **{code: (STATUS[kind], title) for code, (kind, title) in REFUSALS.items()},
}
"""Code to HTTP status and title: what HTTP itself can get wrong, and the refusals."""

_OUTAGE_RETRY_SECONDS = "1"


class ProblemResponse(Exception):
    """An answer that is a problem document. `more` are further members of it."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = dict(more or {})


def render(problem: ProblemResponse, request_id: str) -> web.Response:
    """Return the response for a problem."""
    return web.Response(
        status=PROBLEMS[problem.code][0],
        body=members(problem, request_id),
        headers={**problem.headers, "Content-Type": CONTENT_TYPE},
    )


def members(problem: ProblemResponse, request_id: str) -> bytes:
    """Return the document for a problem."""
    status, title = PROBLEMS[problem.code]
    found: dict[str, object] = {
        "type": f"urn:dialback-sidecar:problem:{problem.code}",
        "code": problem.code,
        "title": title,
        "status": status,
    }
    if problem.detail:
        found["detail"] = problem.detail
    found |= problem.more
    found["request_id"] = request_id
    return msgspec.json.encode(found)


def from_refusal(refusal: Refusal) -> ProblemResponse:
    """Return the problem for an operation that was not done."""
    headers = {}
    if refusal.kind is RefusalKind.UNKNOWN_CALLER:
        headers["WWW-Authenticate"] = 'Bearer realm="dialback-sidecar"'
    elif refusal.kind is RefusalKind.OUTAGE:
        headers["Retry-After"] = _OUTAGE_RETRY_SECONDS
    return ProblemResponse(refusal.code, refusal.detail, headers=headers, more=refusal.more)


def from_http(error: web.HTTPException) -> ProblemResponse:
    """Return the problem for an error that aiohttp itself raised."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return ProblemResponse("method-not-allowed", headers={"Allow": allowed})
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return ProblemResponse("body-too-large")
    if error.status == 404:
        return ProblemResponse("not-found")
    return ProblemResponse("malformed-request" if error.status < 500 else "internal-error")
