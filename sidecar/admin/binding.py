"""From an HTTP request to an operation's input. Unknown fields are refused, wherever they are."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
from aiohttp import web

from sidecar.admin.input_faults import fault_in_words
from sidecar.admin.problems import ProblemResponse
from sidecar.admin.routes import Route
from sidecar.operations import Refusal
from sidecar.operations.fields import Input, read_own
from sidecar.operations.operation import AnyOperation

_BODY_SECONDS = 10.0
_REPEAT_KEY = re.compile(r"[!-~]{1,200}\Z")


async def read_input(request: web.Request, operation: AnyOperation, route: Route) -> Input:
    """Raises ProblemResponse, Refusal."""
    fields: dict[str, Any] = {}
    if route.has_body:
        fields = await _body(request)
        if request.query:
            name = next(iter(request.query))
            raise _invalid("there is no query here", name)
    else:
        for name in request.query:
            if len(request.query.getall(name)) > 1:
                raise _invalid("given more than once", name)
            if request.query[name].lower() == "null":  # msgspec would take it for nothing given
                raise _invalid("leave out what is not given", name)
            fields[name] = request.query[name]
        if request.can_read_body and await _content(request):
            raise _invalid("there is no body here", "")
    for name in route.path_fields:
        if name in fields:
            raise _invalid("the path says this", name)
        fields[name] = request.match_info[name]
    try:
        # What comes as text of a URL is a number where a number is asked for.
        given = msgspec.convert(fields, operation.input, strict=route.has_body, dec_hook=read_own)
    except msgspec.ValidationError as error:
        field, fault = fault_in_words(str(error), operation.input)
        raise _invalid(fault, field) from error
    assert isinstance(given, Input)
    return given


def read_repeat_key(request: web.Request, operation: AnyOperation) -> str | None:
    """Return the Idempotency-Key. Raises Refusal."""
    key = request.headers.get("Idempotency-Key")
    if key is None or not operation.once:
        return None
    if not _REPEAT_KEY.match(key):
        raise _invalid("expected 1 to 200 visible ASCII characters", "Idempotency-Key")
    return key


async def _content(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise ProblemResponse("request-too-slow") from None
    except web.RequestPayloadError as error:
        raise ProblemResponse("malformed-request") from error


async def _body(request: web.Request) -> dict[str, Any]:
    content = await _content(request)
    if not content:
        return {}
    if request.content_type != "application/json":
        raise ProblemResponse("unsupported-media-type")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ProblemResponse("unsupported-media-type", "the body must not be compressed")
    try:
        fields = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemResponse("malformed-json", str(error)) from error
    if not isinstance(fields, dict):
        raise _invalid("expected an object", "")
    return fields


def _invalid(detail: str, field: str) -> Refusal:
    return Refusal("invalid-input", detail[:300], field=field[:100])
