"""One connection of the API. What comes there and is no HTTP gets a problem document too."""

from __future__ import annotations

import logging
import secrets

from aiohttp import web

from sidecar.admin.problems import ProblemResponse, render

log = logging.getLogger(__name__)


class Connection(web.RequestHandler):
    """aiohttp's, but for the answer to what its parser refuses, which no middleware sees."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer; its connection ends with it. Raises ConnectionError."""
        if request.writer.output_size > 0:
            raise ConnectionError("a part of another answer is on its way already")
        request_id = secrets.token_hex(8)
        if status < 500:
            code = "malformed-request"
            log.debug("request %s: no HTTP", request_id)
        else:
            code = "internal-error"
            log.error("request %s failed", request_id, exc_info=exc)
        return _ending(ProblemResponse(code), request_id)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer. An expectation that nobody knows is refused before any middleware."""
        if isinstance(resp, web.HTTPExpectationFailed):
            problem = ProblemResponse("malformed-request", "expected no Expect but 100-continue")
            resp = _ending(problem, secrets.token_hex(8))
        return await super().finish_response(request, resp, start_time)


def _ending(problem: ProblemResponse, request_id: str) -> web.Response:
    """The answer for a problem, with which the connection ends."""
    response = render(problem, request_id)
    response.headers["X-Request-Id"] = request_id
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.force_close()
    return response
