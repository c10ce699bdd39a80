"""The operations of the registry as HTTP resources."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from sidecar.admin.authentication import identify
from sidecar.admin.binding import read_input, read_repeat_key
from sidecar.admin.entity_tags import answers_condition, quoted, read_precondition
from sidecar.admin.middleware import Handler
from sidecar.admin.routes import CREATED, ROUTES, Route
from sidecar.operations import REGISTRY, Call, Parts
from sidecar.operations.operation import AnyOperation
from sidecar.preconditions import NO_PRECONDITION

_encoder = msgspec.json.Encoder()


def add_operations(application: web.Application, parts: Parts) -> None:
    """Give each operation that has a route its resource."""
    for name, route in ROUTES.items():
        application.router.add_route(
            route.method, route.path, _handler(REGISTRY[name], route, parts)
        )


def _handler(operation: AnyOperation, route: Route, parts: Parts) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        caller = await identify(request, parts)
        repeat_key = read_repeat_key(request, operation)
        shows_resource = operation.tagged and not operation.acts
        condition = NO_PRECONDITION
        if operation.conditional or shows_resource:
            condition = read_precondition(request)
        call = Call(caller, repeat_key, condition)
        operation.check(call)
        given = await read_input(request, operation, route)
        content = await operation.do(parts, call, given)
        created = operation.creates and content.created
        response = answer(content, CREATED if created else route.status)
        if shows_resource and not answers_condition(condition, content):
            response = web.Response(status=304)
        if operation.tagged:
            response.headers["ETag"] = quoted(content)
        return response

    return handle


def answer(content: Any, status: int = 200) -> web.Response:
    """Return a JSON response."""
    return web.Response(
        status=status, body=_encoder.encode(content), content_type="application/json"
    )
