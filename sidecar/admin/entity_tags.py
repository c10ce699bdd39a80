"""Entity tags in HTTP: `ETag`, `If-Match`, `If-None-Match` (RFC 9110 §8.8.3, §13.1)."""

from __future__ import annotations

import re

from aiohttp import web

from sidecar.operations import Refusal
from sidecar.operations.fields import Resource
from sidecar.preconditions import ANY_TAG, Precondition

PATTERN = r'^(\*|(W/)?"[!#-~]{0,64}"(, ?(W/)?"[!#-~]{0,64}"){0,15})$'
"""Of the value of a condition: `*`, or up to 16 entity tags."""

_CONDITION = re.compile(PATTERN)
_TAG = re.compile(r'(W/)?"([!#-~]*)"')


def read_precondition(request: web.Request) -> Precondition:
    """Return the condition of a request. Raises Refusal.

    `If-Match` compares strongly, so that a weak tag matches nothing there. An empty tag matches
    nothing at all, for ours are not empty.
    """
    return Precondition(
        _tags(request, "If-Match", weak_too=False), _tags(request, "If-None-Match", weak_too=True)
    )


def quoted(resource: Resource) -> str:
    """Return the value of `ETag`."""
    return f'"{resource.etag}"'


def answers_condition(precondition: Precondition, resource: Resource) -> bool:
    """Whether a GET is answered with what it asks for: if not, the client has it (304).

    Raises Refusal when what the client means to get is not there any more.
    """
    if not Precondition(match=precondition.match).holds(resource.etag):
        raise Refusal("precondition-failed")
    return precondition.holds(resource.etag)


def _tags(request: web.Request, header: str, *, weak_too: bool) -> tuple[str, ...] | None:
    given = request.headers.getall(header, None)
    if given is None:
        return None
    value = ", ".join(given)
    if not _CONDITION.fullmatch(value):
        raise Refusal("invalid-input", 'expected "TAG", a list of them, or *', field=header)
    if value == ANY_TAG:
        return (ANY_TAG,)
    return tuple(tag for weak, tag in _TAG.findall(value) if tag and (weak_too or not weak))
