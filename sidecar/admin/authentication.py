"""Who the bearer of a token is; the key service knows."""

from __future__ import annotations

from aiohttp import web

from sidecar.keys.messages import TokenFacts, WhoBears
from sidecar.operations import Caller, Parts, Refusal
from sidecar.operations.parts import ask, refuse_if_refused

_MAX_TOKEN_CHARACTERS = 100


async def identify(request: web.Request, parts: Parts) -> Caller:
    """Return the caller. Raises Refusal."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if kind.lower() != "bearer" or not token:
        raise Refusal("token-missing", "send it as Authorization: Bearer")
    if len(token) > _MAX_TOKEN_CHARACTERS or not token.isascii():
        raise Refusal("token-unknown")
    return await who_bears(token, parts)


async def who_bears(token: str, parts: Parts) -> Caller:
    """Return the bearer of a token. Raises Refusal."""
    facts = refuse_if_refused(await ask(parts.keys, WhoBears(token)))
    assert isinstance(facts, TokenFacts)
    domains = None if facts.domains is None else tuple(facts.domains)
    return Caller(token, facts.id, tuple(facts.scopes), domains)
