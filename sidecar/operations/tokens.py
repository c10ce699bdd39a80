"""API tokens. The token itself is in one answer only, that of its making."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from sidecar.keys.messages import (
    CreateToken,
    Done,
    ListTokens,
    RevokeToken,
    TokenFacts,
    TokenList,
    TokenMade,
)
from sidecar.keys.scopes import Scope
from sidecar.names import Domain
from sidecar.operations.caller import Call
from sidecar.operations.fields import Input, Nothing, Output, Time, at, at_if
from sidecar.operations.operation import Operation
from sidecar.operations.parts import Parts
from sidecar.operations.patterns import NAME, TOKEN_ID

_SECONDS_PER_DAY = 86_400

ScopeName = Literal[
    "status:read",
    "handshakes:read",
    "secrets:read",
    "secrets:write",
    "domains:write",
    "peers:read",
    "peers:write",
    "keys:issue",
    "keys:verify",
    "checks:run",
    "probes:run",
    "config:write",
    "tokens:write",
    "metrics:read",
]
"""All but `admin`, which only the key service's own socket gives out."""


class Token(Output, frozen=True):
    """What is known of a token. `domains` null: all sender domains."""

    id: str
    name: str
    scopes: list[str]
    domains: list[str] | None
    created: Time
    expires: Time | None
    revoked: Time | None
    last_use: Time | None


class TokenPage(Output, frozen=True):
    items: list[Token]


class TokenInput(Input, frozen=True):
    name: Annotated[str, Meta(pattern=NAME, description="what it is for")]
    scopes: Annotated[list[ScopeName], Meta(min_length=1, max_length=20)]
    domains: Annotated[list[Domain], Meta(min_length=1, max_length=100)] | None = None
    days: (
        Annotated[int, Meta(ge=1, le=3650, description="days until it expires; without it never")]
        | None
    ) = None


class NewToken(Output, frozen=True):
    """The token is told here and never again."""

    token: str
    facts: Token


class TokenId(Input, frozen=True):
    id: Annotated[str, Meta(pattern=TOKEN_ID)]


class TokenRevoked(Output, frozen=True):
    id: str


async def _list(parts: Parts, call: Call, _: Nothing) -> TokenPage:
    reply = await parts.ask_keys(call, ListTokens())
    assert isinstance(reply, TokenList)
    return TokenPage(items=[_token(facts) for facts in reply.tokens])


async def _create(parts: Parts, call: Call, given: TokenInput) -> NewToken:
    request = CreateToken(
        given.name,
        list(given.scopes),
        None if given.domains is None else [str(domain) for domain in given.domains],
        None if given.days is None else given.days * _SECONDS_PER_DAY,
    )
    reply = await parts.ask_keys(call, request)
    assert isinstance(reply, TokenMade)
    return NewToken(token=reply.token, facts=_token(reply.facts))


async def _revoke(parts: Parts, call: Call, given: TokenId) -> TokenRevoked:
    reply = await parts.ask_keys(call, RevokeToken(given.id))
    assert isinstance(reply, Done)
    return TokenRevoked(id=given.id)


def _token(facts: TokenFacts) -> Token:
    return Token(
        id=facts.id,
        name=facts.name,
        scopes=facts.scopes,
        domains=facts.domains,
        created=at(facts.created_ms),
        expires=at_if(facts.expires_ms),
        revoked=at_if(facts.revoked_ms),
        last_use=at_if(facts.last_use_ms),
    )


OPERATIONS = (
    Operation(
        name="tokens-list",
        summary="List the API tokens, never the tokens themselves",
        scope=Scope.TOKENS_WRITE,
        input=Nothing,
        output=TokenPage,
        handler=_list,
        for_all_domains=True,
    ),
    Operation(
        name="tokens-create",
        summary="Make an API token that opens no more than one's own",
        scope=Scope.TOKENS_WRITE,
        input=TokenInput,
        output=NewToken,
        handler=_create,
        acts=True,
        once=True,
        refusals=(
            "scope-not-yours",
            "expiry-not-yours",
            "too-many-tokens",
            "told-once",
            "repeat-key-reused",
        ),
        secret=True,
    ),
    Operation(
        name="tokens-revoke",
        summary="End an API token now",
        scope=Scope.TOKENS_WRITE,
        input=TokenId,
        output=TokenRevoked,
        handler=_revoke,
        acts=True,
        refusals=("no-such-token", "scope-not-yours"),
    ),
)
