"""Requests of peers: `db:verify` and `db:result` as they come in, and the answers to them.

Beside `dialback`, the one place where `from` and `to` become sender and target domain and back.
An answer echoes `from`, `to` and `id` as they were sent, and never the key (XEP-0220 §2.2).
"""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from sidecar.errors import InvalidValue
from sidecar.jobs import Condition, Outcome, Verdict
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.protocol import namespaces as ns
from sidecar.protocol.stream import quoted
from sidecar.protocol.xml import Element

_ERROR_TYPES = {
    Condition.BAD_REQUEST: "modify",
    Condition.FORBIDDEN: "auth",
    Condition.NOT_ACCEPTABLE: "modify",
    Condition.NOT_AUTHORIZED: "auth",
    Condition.POLICY_VIOLATION: "modify",
    Condition.REMOTE_SERVER_TIMEOUT: "wait",
    Condition.RESOURCE_CONSTRAINT: "wait",
}
"""RFC 6120 §8.3.3; the other conditions are of type `cancel`."""


class Said(Struct, frozen=True, gc=False):
    """The attributes of a request as they were sent, None where there was none."""

    name: str
    sender: str | None
    """`from`"""
    recipient: str | None
    """`to`"""
    id: str | None


def said_in(element: Element) -> Said:
    """The attributes of a `db:verify` or `db:result`."""
    get = element.attributes.get
    return Said(element.name, get("from"), get("to"), get("id"))


def read_pair(said: Said) -> DomainPair:
    """The domain pair of a request. Raises InvalidValue.

    In a verify request `from` is the target domain (XEP-0220 §2.2.2), in a dialback request it is
    the sender domain (§2.2.1).
    """
    first, second = said.sender or "", said.recipient or ""
    return _pair(second, first) if said.name == "verify" else _pair(first, second)


@lru_cache(maxsize=4096)
def _pair(sender: str, target: str) -> DomainPair:
    return DomainPair(sender=Domain.parse(sender, "sender"), target=Domain.parse(target, "target"))


def read_key(element: Element) -> DialbackKey:
    """The key in a request, without the white space around it. Raises InvalidValue."""
    if element.children:
        raise InvalidValue("key", "expected character data alone")
    return DialbackKey.parse(element.text)


def read_stream(said: Said) -> StreamId:
    """The stream ID of a verify request, byte-exact. Raises InvalidValue."""
    return StreamId.parse(said.id or "", "id")


def write_answer(said: Said, verdict: Verdict) -> str:
    """The answer to a request: its own attributes, the first two swapped, and a type.

    A dialback error carries a stanza error (XEP-0220 §2.5), whose reason stays with us.
    """
    name, sender, recipient, id_ = said.name, said.sender, said.recipient, said.id
    if sender is None or recipient is None or id_ is None:
        given = (("from", recipient), ("to", sender), ("id", id_))
        attributes = "".join(f" {key}={quoted(text)}" for key, text in given if text is not None)
    else:
        attributes = f" from={quoted(recipient)} to={quoted(sender)} id={quoted(id_)}"
    outcome = verdict.outcome
    if outcome is Outcome.VALID:
        return f"<db:{name}{attributes} type='valid'/>"
    if outcome is Outcome.INVALID:
        return f"<db:{name}{attributes} type='invalid'/>"
    condition = verdict.condition
    assert condition is not None
    return (
        f"<db:{name}{attributes} type='error'>"
        f"<error type='{_ERROR_TYPES.get(condition, 'cancel')}'>"
        f"<{condition.value} xmlns='{ns.STANZA_ERRORS}'/></error></db:{name}>"
    )
