"""What can happen on an inbound stream to the authority listener, told to whoever drives it."""

from __future__ import annotations

from msgspec import Struct

from sidecar.names import DialbackKey, DomainPair, StreamId
from sidecar.protocol.dialback_requests import Said
from sidecar.protocol.events import AnswerDropped, StreamClosed, TlsWanted


class VerifyAsked(Struct, frozen=True, gc=False):
    """A Receiving Server asks about a key of ours (XEP-0220 §2.2.2); answer it with `answer`."""

    pair: DomainPair
    stream: StreamId
    key: DialbackKey
    said: Said


class ResultAsked(Struct, frozen=True, gc=False):
    """A peer wants to be authorised for `pair` (XEP-0220 §2.2.1); answer it with `answer`.

    `stream` is the ID that we gave its stream.
    """

    pair: DomainPair
    stream: StreamId
    key: DialbackKey
    said: Said


class RequestRefused(Struct, frozen=True):
    """A request answered with a dialback error as it came; `reason` is a stable code."""

    said: Said
    reason: str


class StanzaDropped(Struct, frozen=True):
    """A stanza for a domain that takes none; its name."""

    name: str


Asked = VerifyAsked | ResultAsked
AuthorityEvent = (
    VerifyAsked
    | ResultAsked
    | RequestRefused
    | AnswerDropped
    | StanzaDropped
    | TlsWanted
    | StreamClosed
)
