"""Types that inputs and outputs share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from sidecar.errors import InvalidValue
from sidecar.names import Domain
from sidecar.operations.patterns import CURSOR
from sidecar.peer_policy import PeerPattern

Limit = Annotated[int, Meta(ge=1, le=500, description="items on one page at most")]
Cursor = Annotated[
    str,
    Meta(pattern=CURSOR, description="`next` of the page before: what comes after it"),
]
Time = Annotated[datetime, Meta(tz=True)]
"""Of an output: RFC 3339, in UTC. A duration that was measured is in milliseconds, and named `ms`;
one that is configured is as in the configuration file (`sidecar.durations`)."""
DomainName = Annotated[Domain, Meta(description="a domain, as U-label or A-label")]


class Input(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operation takes; anything else is refused."""


class Output(Struct, frozen=True, kw_only=True):
    """What an operation answers. Times are UTC."""


class Resource(Output, frozen=True):
    """A piece of configuration. `etag` stands for what it is now, and changes with it."""

    etag: str


class Nothing(Input, frozen=True):
    """Takes nothing."""


def at(ms: int) -> datetime:
    """A time, from milliseconds since 1970."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def at_if(ms: int | None) -> datetime | None:
    return None if ms is None else at(ms)


def to_ms(time: datetime | None) -> int | None:
    """Milliseconds since 1970; a time without a zone is UTC."""
    if time is None:
        return None
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def read_own(type_: type, given: Any) -> Any:
    """`dec_hook` of msgspec for inputs."""
    if type_ in (Domain, PeerPattern) and isinstance(given, str):
        try:
            return type_.parse(given)
        except InvalidValue as error:
            raise ValueError(error.problem) from error
    raise ValueError(f"expected a text, got {type(given).__name__}")


def describe_own(type_: type) -> dict[str, object]:
    """`schema_hook` of msgspec."""
    form = "domain" if type_ is Domain else "peer-pattern"
    return {"type": "string", "format": form, "minLength": 1, "maxLength": 255}
