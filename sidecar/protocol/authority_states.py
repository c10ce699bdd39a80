"""The states of an inbound stream to the authority listener, and what may happen in each.

What is not in the table is a violation by the peer (or, of the inputs of our own side, a
misuse). The Authoritative Server's end of XEP-0220 §2.2, over RFC 6120 §4 and §5.
"""

from __future__ import annotations

import enum


class State(enum.IntEnum):
    HEADER_AWAITED = enum.auto()
    OPEN = enum.auto()
    HANDSHAKE = enum.auto()
    ENDING = enum.auto()  # the peer says no more; what it asked is still being answered
    CLOSED = enum.auto()


class Input(enum.IntEnum):
    # the peer's
    HEADER = enum.auto()
    STARTTLS = enum.auto()  # where we offered it
    TLS_REFUSED = enum.auto()  # starttls where we did not offer it, or with answers pending
    REQUEST = enum.auto()  # db:verify or db:result without a type
    ANSWER = enum.auto()  # one of them with a type: to nothing that we asked
    SASL = enum.auto()  # we offer no mechanism
    STANZA = enum.auto()  # on a stream that a dialback has authorised
    STREAM_ERROR = enum.auto()
    STREAM_END = enum.auto()
    EOF = enum.auto()
    # ours
    SECURED = enum.auto()  # the TLS handshake is done
    ANSWERED = enum.auto()  # nothing is pending any more
    CLOSE = enum.auto()


_ENDS = {Input.STREAM_END, Input.EOF}

TRANSITIONS: dict[tuple[State, Input], State] = {
    (State.HEADER_AWAITED, Input.HEADER): State.OPEN,
    (State.HEADER_AWAITED, Input.EOF): State.CLOSED,
    (State.HEADER_AWAITED, Input.CLOSE): State.CLOSED,
    (State.OPEN, Input.STARTTLS): State.HANDSHAKE,
    (State.OPEN, Input.TLS_REFUSED): State.CLOSED,
    (State.OPEN, Input.REQUEST): State.OPEN,
    (State.OPEN, Input.ANSWER): State.OPEN,
    (State.OPEN, Input.SASL): State.OPEN,
    (State.OPEN, Input.STANZA): State.OPEN,
    (State.OPEN, Input.ANSWERED): State.OPEN,
    (State.OPEN, Input.STREAM_ERROR): State.CLOSED,
    **{(State.OPEN, end): State.ENDING for end in _ENDS},
    (State.OPEN, Input.CLOSE): State.CLOSED,
    (State.HANDSHAKE, Input.SECURED): State.HEADER_AWAITED,
    (State.HANDSHAKE, Input.EOF): State.CLOSED,
    (State.HANDSHAKE, Input.CLOSE): State.CLOSED,
    (State.ENDING, Input.ANSWERED): State.CLOSED,
    (State.ENDING, Input.EOF): State.ENDING,
    (State.ENDING, Input.CLOSE): State.CLOSED,
    (State.CLOSED, Input.EOF): State.CLOSED,
    (State.CLOSED, Input.CLOSE): State.CLOSED,
}
