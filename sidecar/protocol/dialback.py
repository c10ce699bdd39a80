"""`db:verify` and `db:result`, read and written (XEP-0220 §2.1, §2.2.2).

The one place where `from` and `to` become sender and target domain and back. In a verify
request `from` is the target domain; in the response the two are swapped.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

from sidecar.errors import InvalidValue
from sidecar.jobs import Outcome
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.protocol import namespaces as ns
from sidecar.protocol.stream import quoted, read_error
from sidecar.protocol.xml import Element

_OUTCOMES = {outcome.value: outcome for outcome in Outcome}


@dataclass(frozen=True, slots=True)
class VerifyResponse:
    """What an Authoritative Server says of a key; `condition` only where it is an error."""

    pair: DomainPair
    stream: StreamId
    outcome: Outcome
    condition: str | None = None


def write_verify_request(pair: DomainPair, stream: StreamId, key: DialbackKey) -> bytes:
    """XEP-0220 §2.1.2, step 2. The prefix is literally `db:`, as some servers want it."""
    return (
        f"<db:verify from={quoted(pair.target)} to={quoted(pair.sender)} id={quoted(stream)}>"
        f"{escape(key.reveal())}</db:verify>"
    ).encode()


def write_result(pair: DomainPair, key: DialbackKey) -> bytes:
    """A dialback request (XEP-0220 §2.1.1, step 1): here `from` is the sender domain."""
    return (
        f"<db:result from={quoted(pair.sender)} to={quoted(pair.target)}>"
        f"{escape(key.reveal())}</db:result>"
    ).encode()


@dataclass(frozen=True, slots=True)
class ResultResponse:
    """What a Receiving Server says of a domain pair; `condition` only where it is an error."""

    pair: DomainPair
    outcome: Outcome
    condition: str | None = None


def read_result_response(element: Element) -> ResultResponse | None:
    """XEP-0220 §2.1.1, step 4: `from` is the target domain; None for anything else."""
    if (element.namespace, element.name) != (ns.DIALBACK, "result"):
        return None
    outcome = _OUTCOMES.get(element.attributes.get("type", ""))
    if outcome is None:
        return None
    try:
        pair = DomainPair(
            sender=Domain.parse(element.attributes.get("to", "")),
            target=Domain.parse(element.attributes.get("from", "")),
        )
    except InvalidValue:
        return None
    if outcome is not Outcome.ERROR:
        return ResultResponse(pair, outcome)
    error = element.child(ns.SERVER, "error") or element
    return ResultResponse(pair, outcome, read_error(error, ns.STANZA_ERRORS)[0])


def read_verify_response(element: Element) -> VerifyResponse | None:
    """XEP-0220 §2.1.2, step 3; None for what cannot be the answer to any request of ours."""
    attributes = element.attributes
    outcome = _OUTCOMES.get(attributes.get("type", ""))
    if outcome is None:
        return None
    try:
        pair = DomainPair(
            sender=Domain.parse(attributes.get("from", "")),
            target=Domain.parse(attributes.get("to", "")),
        )
        stream = StreamId.parse(attributes.get("id", ""))
    except InvalidValue:
        return None
    if outcome is not Outcome.ERROR:
        return VerifyResponse(pair, stream, outcome)
    error = element.child(ns.SERVER, "error") or element
    condition, _ = read_error(error, ns.STANZA_ERRORS)
    return VerifyResponse(pair, stream, outcome, condition)
