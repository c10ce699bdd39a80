"""The states of an outgoing verification stream, and everything that may happen in each.

What is not in the table is a violation by the peer (or, of the inputs of our own side, a
misuse). The Receiving Server's end of XEP-0220 §2.1.2, over RFC 6120 §4 and §5.
"""

from __future__ import annotations

import enum


class State(enum.Enum):
    __hash__ = object.__hash__  # as good for singletons, and not in Python: the table asks often

    HEADER_AWAITED = enum.auto()
    FEATURES_AWAITED = enum.auto()
    PROCEED_AWAITED = enum.auto()
    HANDSHAKE = enum.auto()
    OPEN = enum.auto()
    CLOSED = enum.auto()


class Input(enum.Enum):
    __hash__ = object.__hash__

    # the peer's
    HEADER = enum.auto()  # version 1.0: features follow
    LEGACY_HEADER = enum.auto()  # no version, no features: ready as it is
    FEATURES = enum.auto()  # nothing left to negotiate before dialback
    STARTTLS = enum.auto()  # features that offer TLS, on cleartext
    NO_TLS = enum.auto()  # header or features without TLS where TLS is a must
    NO_DIALBACK = enum.auto()  # neither header nor features know dialback
    PROCEED = enum.auto()
    TLS_FAILURE = enum.auto()
    ANSWER = enum.auto()  # db:verify with a type
    ELEMENT = enum.auto()  # anything else
    STREAM_ERROR = enum.auto()
    STREAM_END = enum.auto()
    EOF = enum.auto()
    # ours
    SECURED = enum.auto()  # the TLS handshake is done
    CLOSE = enum.auto()


_PEER_ENDS = {Input.STREAM_ERROR, Input.STREAM_END, Input.EOF}

TRANSITIONS: dict[tuple[State, Input], State] = {
    (State.HEADER_AWAITED, Input.HEADER): State.FEATURES_AWAITED,
    (State.HEADER_AWAITED, Input.LEGACY_HEADER): State.OPEN,
    (State.HEADER_AWAITED, Input.NO_TLS): State.CLOSED,
    (State.HEADER_AWAITED, Input.EOF): State.CLOSED,
    (State.HEADER_AWAITED, Input.CLOSE): State.CLOSED,
    (State.FEATURES_AWAITED, Input.FEATURES): State.OPEN,
    (State.FEATURES_AWAITED, Input.STARTTLS): State.PROCEED_AWAITED,
    (State.FEATURES_AWAITED, Input.NO_TLS): State.CLOSED,
    (State.FEATURES_AWAITED, Input.NO_DIALBACK): State.CLOSED,
    **{(State.FEATURES_AWAITED, end): State.CLOSED for end in _PEER_ENDS | {Input.CLOSE}},
    (State.PROCEED_AWAITED, Input.PROCEED): State.HANDSHAKE,
    (State.PROCEED_AWAITED, Input.TLS_FAILURE): State.CLOSED,
    **{(State.PROCEED_AWAITED, end): State.CLOSED for end in _PEER_ENDS | {Input.CLOSE}},
    (State.HANDSHAKE, Input.SECURED): State.HEADER_AWAITED,
    (State.HANDSHAKE, Input.EOF): State.CLOSED,
    (State.HANDSHAKE, Input.CLOSE): State.CLOSED,
    (State.OPEN, Input.ANSWER): State.OPEN,
    (State.OPEN, Input.ELEMENT): State.OPEN,  # ignored: nothing here authorises anything
    **{(State.OPEN, end): State.CLOSED for end in _PEER_ENDS | {Input.CLOSE}},
    (State.CLOSED, Input.EOF): State.CLOSED,
    (State.CLOSED, Input.CLOSE): State.CLOSED,
}
