"""The history of handshakes."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable
from datetime import datetime
from typing import Annotated, Literal, TypeVar

from msgspec import Meta
from msgspec.structs import asdict

from sidecar.handshakes import (
    HandshakeFilter,
    HandshakeRecord,
    OutcomeName,
    RoleName,
    TraceStep,
)
from sidecar.keys.scopes import Scope
from sidecar.names import Domain
from sidecar.operations.caller import Call
from sidecar.operations.fields import Cursor, Input, Limit, Output, Time, at, to_ms
from sidecar.operations.operation import Operation
from sidecar.operations.parts import Parts, Stored
from sidecar.operations.refusals import Refusal

T = TypeVar("T")


class Handshake(Output, frozen=True):
    """One handshake. `local` is our domain of the pair, `peer` the other; durations in ms.

    `issued` means that a key was made and nothing was heard since; `reported` is what our server
    said became of it.
    """

    id: int
    direction: Literal["incoming", "outgoing"]
    role: RoleName
    sender: str
    target: str
    local: str
    peer: str
    stream: str
    mechanism: str
    outcome: OutcomeName | None
    condition: str | None
    evidence: str | None
    reason: str | None
    reported: OutcomeName | None
    started: Time
    updated: Time
    issue_ms: float | None
    verify_ms: float | None
    check_ms: float | None


class HandshakeDetails(Handshake, frozen=True):
    """With the steps of its check."""

    steps: list[TraceStep]


class HandshakesInput(Input, frozen=True):
    peer: Annotated[Domain | None, Meta(description="the other server's domain")] = None
    domain: Annotated[Domain | None, Meta(description="our domain")] = None
    role: Annotated[RoleName | None, Meta(description="what our server was in it")] = None
    outcome: Annotated[OutcomeName | None, Meta(description="how it ended")] = None
    since: Annotated[datetime | None, Meta(description="began at this time or later")] = None
    until: Annotated[datetime | None, Meta(description="began before this time")] = None
    cursor: Cursor | None = None
    limit: Limit = 50


class HandshakePage(Output, frozen=True):
    """Newest first."""

    items: list[Handshake]
    next: str | None


class HandshakeInput(Input, frozen=True):
    id: Annotated[int, Meta(ge=1, le=2**53)]


async def _list(parts: Parts, call: Call, given: HandshakesInput) -> HandshakePage:
    wanted = HandshakeFilter(
        peer=given.peer and str(given.peer),
        local=given.domain and str(given.domain),
        locals=call.caller.domains,
        role=given.role,
        outcome=given.outcome,
        from_ms=to_ms(given.since),
        until_ms=to_ms(given.until),
        before=int(given.cursor) if given.cursor else None,
    )
    found = await read_history(parts.handshakes.page(wanted, given.limit + 1))
    items = [of_stored(stored) for stored in found[: given.limit]]
    more = len(found) > given.limit
    return HandshakePage(items=items, next=str(items[-1].id) if more else None)


async def _show(parts: Parts, call: Call, given: HandshakeInput) -> HandshakeDetails:
    record = await read_history(parts.handshakes.get(given.id))
    if record is None or not call.caller.may_see(record.local):
        raise Refusal("no-such-handshake")
    whole = asdict(_handshake(given.id, record))
    return HandshakeDetails(**whole, steps=record.steps)


async def read_history(question: Awaitable[T]) -> T:
    """Raises Refusal when the history cannot be read."""
    try:
        return await question
    except sqlite3.Error as error:
        raise Refusal("history-unavailable") from error


def of_stored(stored: Stored) -> Handshake:
    return _handshake(stored.number, stored.record)


def _handshake(number: int, record: HandshakeRecord) -> Handshake:
    incoming = record.incoming
    return Handshake(
        id=number,
        direction="incoming" if incoming else "outgoing",
        role=record.role,
        sender=record.sender,
        target=record.target,
        local=record.target if incoming else record.sender,
        peer=record.sender if incoming else record.target,
        stream=record.stream,
        mechanism=record.mechanism,
        outcome=record.outcome,
        condition=record.condition,
        evidence=record.evidence,
        reason=record.reason,
        reported=record.reported,
        started=at(record.started_ms),
        updated=at(record.updated_ms),
        issue_ms=_ms(record.issue_us),
        verify_ms=_ms(record.verify_us),
        check_ms=_ms(record.check_us),
    )


def _ms(us: int | None) -> float | None:
    return None if us is None else us / 1000


OPERATIONS = (
    Operation(
        name="handshakes-list",
        summary="List handshakes, newest first",
        scope=Scope.HANDSHAKES_READ,
        input=HandshakesInput,
        output=HandshakePage,
        handler=_list,
        refusals=("history-unavailable",),
    ),
    Operation(
        name="handshakes-show",
        summary="Show one handshake, with the steps of its check",
        scope=Scope.HANDSHAKES_READ,
        input=HandshakeInput,
        output=HandshakeDetails,
        handler=_show,
        refusals=("no-such-handshake", "history-unavailable"),
    ),
)
