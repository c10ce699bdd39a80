"""What can happen on an outgoing verification stream, told to whoever drives it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from sidecar.jobs import Outcome
from sidecar.names import DomainPair, StreamId

Request = tuple[DomainPair, StreamId]
"""What makes a verify request unique on one stream (XEP-0220 §2.1.2)."""


@dataclass(frozen=True, slots=True)
class TlsWanted:
    """Do the TLS handshake now, then call `tls_established`. Bytes until then are TLS's."""


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """Verify requests are sent from here on. `id` is the peer's; `legacy` has no version.

    `dialback_errors` says that the peer takes requests for several domains (XEP-0220 §2.6.2).
    """

    id: str | None
    encrypted: bool
    legacy: bool
    dialback_errors: bool = False


@dataclass(frozen=True, slots=True)
class VerifyAnswered:
    """The answer to one of our requests; `condition` only where the outcome is an error."""

    pair: DomainPair
    stream: StreamId
    outcome: Outcome
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerDropped:
    """An answer nobody asked for on this stream (XEP-0220 §3.1), with its attributes as sent."""

    attributes: tuple[tuple[str, str], ...]


class Cause(enum.Enum):
    """Why a stream is over."""

    OURS = "we closed it"
    PEER_CLOSED = "the peer closed it"
    PEER_ERROR = "the peer sent a stream error"
    TLS_REFUSED = "the peer offered TLS and then refused it"
    TLS_MISSING = "the peer offers no TLS where we know that it could"
    NO_DIALBACK = "the peer does not speak dialback"
    VIOLATION = "the peer broke the protocol"


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The last event. `unanswered` are the requests that now count as failed.

    `condition` and `text` are those of the stream error, theirs or ours.
    """

    cause: Cause
    condition: str | None = None
    text: str = ""
    unanswered: tuple[Request, ...] = ()


Event = TlsWanted | StreamOpened | VerifyAnswered | AnswerDropped | StreamClosed
