"""The table of the outgoing verification stream: every state with every input, and long walks."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from verify_flows import (
    BARE_HEADER,
    CAPULET,
    END,
    FAILURE,
    FEATURES,
    FEATURES_TLS,
    HEADER,
    HOST_UNKNOWN,
    KEY,
    LEGACY_HEADER,
    MONTAGUE,
    PAIR,
    PROCEED,
    STREAM,
    answer,
)

from sidecar.protocol.events import (
    Cause,
    Event,
    StreamClosed,
    StreamOpened,
    TlsWanted,
    VerifyAnswered,
)
from sidecar.protocol.verify_states import TRANSITIONS, Input, State
from sidecar.protocol.verify_stream import VerifyStream

LETTERS = {
    "H": State.HEADER_AWAITED,
    "F": State.FEATURES_AWAITED,
    "P": State.PROCEED_AWAITED,
    "T": State.HANDSHAKE,
    "O": State.OPEN,
    "C": State.CLOSED,
}
PICTURE = """
                  H F P T O C
    HEADER        F - - - - -
    LEGACY_HEADER O - - - - -
    FEATURES      ! O ! ! ! .
    STARTTLS      ! P ! ! ! .
    NO_TLS        C C ! ! - -
    NO_DIALBACK   ! C ! ! ! .
    PROCEED       ! ! T ! ! .
    TLS_FAILURE   ! ! C ! ! .
    ANSWER        ! ! ! ! O .
    ELEMENT       ! ! ! ! O .
    STREAM_ERROR  ! C C ! C .
    STREAM_END    ! C C ! C .
    EOF           C C C C C C
    SECURED       x x x H x x
    CLOSE         C C C C C C
"""
"""What each state becomes: `!` a violation of the peer's, `x` a misuse of ours, `.` nothing, for
the stream is over, `-` cannot be: a second header is an element like any other, and where TLS
must be no stream opens without."""
CAUSES = {
    Input.NO_TLS: Cause.TLS_MISSING,
    Input.NO_DIALBACK: Cause.NO_DIALBACK,
    Input.TLS_FAILURE: Cause.TLS_REFUSED,
    Input.STREAM_ERROR: Cause.PEER_ERROR,
    Input.STREAM_END: Cause.PEER_CLOSED,
    Input.EOF: Cause.PEER_CLOSED,
    Input.CLOSE: Cause.OURS,
}


def _read_picture() -> dict[tuple[State, Input], str]:
    head, *lines = PICTURE.strip().splitlines()
    cells = {}
    for name, *row in (line.split() for line in lines):
        for letter, cell in zip(head.split(), row, strict=True):
            cells[LETTERS[letter], Input[name]] = cell
    return cells


CELLS = _read_picture()
SAID = {
    "header": HEADER,
    "header of a legacy server": LEGACY_HEADER,
    "header that declares no dialback": BARE_HEADER,
    "features": FEATURES,
    "features with TLS": FEATURES_TLS,
    "empty features": "<stream:features/>",
    "proceed": PROCEED,
    "failure": FAILURE,
    "answer": answer().replace("<db:verify", "<db:verify xmlns:db='jabber:server:dialback'"),
    "stanza": "<iq/>",
    "stream error": HOST_UNKNOWN,
    "end": END,
}
DONE: dict[str, tuple[Input, Callable[[VerifyStream], None]]] = {
    "connection lost": (Input.EOF, VerifyStream.receive_eof),
    "TLS established": (Input.SECURED, VerifyStream.tls_established),
    "closed by us": (Input.CLOSE, VerifyStream.close),
}
_PLAIN = {
    "proceed": Input.PROCEED,
    "failure": Input.TLS_FAILURE,
    "answer": Input.ANSWER,
    "stanza": Input.ELEMENT,
    "stream error": Input.STREAM_ERROR,
    "end": Input.STREAM_END,
}


@dataclass
class Peer:
    """A stream and what the peer did on it; knows which input the next thing said is."""

    stream: VerifyStream
    tls_required: bool
    declared: bool = False
    encrypted: bool = False

    def do(self, what: str) -> None:
        """Say or do it."""
        if what in DONE:
            received, act = DONE[what]
            act(self.stream)
            self.encrypted |= received is Input.SECURED
            return
        said = SAID[what]
        if self.stream.state is State.HEADER_AWAITED:
            self.declared = what != "header that declares no dialback"
        elif "header" in what:
            said = said.removeprefix("<?xml version='1.0'?>") + END
        self.stream.receive_data(said.encode())

    def input_of(self, what: str) -> Input:
        """Which input it would be here."""
        if what in DONE:
            return DONE[what][0]
        in_clear, state = not self.encrypted, self.stream.state
        if what in _PLAIN:
            return _PLAIN[what]
        if "header" in what:
            if state is not State.HEADER_AWAITED:
                return Input.ELEMENT  # a second header is an element like any other
            if "legacy" not in what:
                return Input.HEADER
            return Input.NO_TLS if in_clear and self.tls_required else Input.LEGACY_HEADER
        if in_clear and what == "features with TLS":
            return Input.STARTTLS
        if in_clear and self.tls_required and state is not State.HEADER_AWAITED:
            return Input.NO_TLS
        dialback = self.declared or what != "empty features"
        return Input.FEATURES if dialback else Input.NO_DIALBACK


def new_peer(*, tls_required: bool = False) -> Peer:
    stream = VerifyStream(local=MONTAGUE, remote=CAPULET, tls_required=tls_required)
    stream.verify(PAIR, STREAM, KEY)
    return Peer(stream, tls_required)


TLS = ("features with TLS", "proceed", "TLS established")
WAYS: dict[State, tuple[tuple[str, ...], ...]] = {
    State.HEADER_AWAITED: ((), ("header", *TLS)),
    State.FEATURES_AWAITED: (
        ("header",),
        ("header that declares no dialback",),
        ("header", *TLS, "header"),
        ("header", *TLS, "header that declares no dialback"),
    ),
    State.PROCEED_AWAITED: (
        ("header", "features with TLS"),
        ("header that declares no dialback", "features with TLS"),
    ),
    State.HANDSHAKE: (
        ("header", "features with TLS", "proceed"),
        ("header that declares no dialback", "features with TLS", "proceed"),
    ),
    State.OPEN: (
        ("header", "features"),
        ("header of a legacy server",),
        ("header that declares no dialback", "features"),
        ("header", *TLS, "header", "features"),
    ),
    State.CLOSED: (("header", "end"), ("header", "features", "end"), ("closed by us",)),
}
"""How each state is reached."""
CASES = [
    pytest.param(
        state,
        way,
        tls_required,
        what,
        id=f"{what} after {', '.join(way) or 'nothing'}{' with TLS required' * tls_required}",
    )
    for state, ways in WAYS.items()
    for way, tls_required, what in itertools.product(ways, (False, True), (*SAID, *DONE))
    if not tls_required or "TLS established" in way or state not in (State.OPEN, State.CLOSED)
]


def in_state(state: State, way: tuple[str, ...], tls_required: bool) -> Peer:
    peer = new_peer(tls_required=tls_required)
    for step in way:
        peer.do(step)
    assert peer.stream.state is state
    peer.stream.events()
    peer.stream.data_to_send()
    return peer


@pytest.mark.parametrize(("state", "way", "tls_required", "what"), CASES)
def test_input_moves_the_stream_as_the_picture_shows(state, way, tls_required, what) -> None:
    peer = in_state(state, way, tls_required)
    received = peer.input_of(what)
    cell = CELLS[state, received]
    if cell == "x":
        with pytest.raises(ValueError, match=received.name):
            peer.do(what)
    else:
        peer.do(what)
    stream, events = peer.stream, peer.stream.events()
    if cell in "x." or state is State.CLOSED:
        assert (stream.state, events, stream.data_to_send()) == (state, [], b"")
    elif cell == "!":
        (closed,) = events
        assert stream.state is State.CLOSED
        assert (closed.cause, closed.unanswered) == (Cause.VIOLATION, ((PAIR, STREAM),))
        assert stream.data_to_send().endswith(b"</stream:error></stream:stream>")
    elif cell == "C":
        (closed,) = events
        assert stream.state is State.CLOSED
        assert (closed.cause, closed.unanswered) == (CAUSES[received], ((PAIR, STREAM),))
        goodbye = b"" if received is Input.EOF else b"</stream:stream>"
        assert stream.data_to_send() == goodbye
    else:
        assert stream.state is LETTERS[cell]
        assert [event for event in events if isinstance(event, StreamClosed)] == []


def test_every_state_meets_every_input_that_there_can_be() -> None:
    met = set()
    for state, way, tls_required, what in (case.values for case in CASES):
        met.add((state, in_state(state, way, tls_required).input_of(what)))
    assert met == {pair for pair, cell in CELLS.items() if cell != "-"}
    assert set(CELLS) == set(itertools.product(State, Input))


def test_table_is_the_picture() -> None:
    moves = {pair: LETTERS[cell] for pair, cell in CELLS.items() if cell in LETTERS}
    assert moves == TRANSITIONS


def what_may_come_of(events: list[Event]) -> None:
    """What holds for every life of a stream with one request on it."""
    kinds = [type(event) for event in events]
    assert kinds.count(StreamClosed) <= 1
    assert StreamClosed not in kinds[:-1]
    assert kinds.count(StreamOpened) <= 1
    assert kinds.count(TlsWanted) <= 1
    assert kinds.count(VerifyAnswered) <= 1
    if VerifyAnswered in kinds:
        assert kinds.index(StreamOpened) < kinds.index(VerifyAnswered)
    if kinds[-1:] == [StreamClosed]:
        asked = () if VerifyAnswered in kinds else ((PAIR, STREAM),)
        assert events[-1].unanswered == asked


@given(data=st.data(), tls_required=st.booleans())
def test_any_walk_follows_the_picture(data, tls_required) -> None:
    """Invariant: after any inputs the state is the picture's, the key was sent on open streams
    alone, and there was one opening, one answer and one end at most, in this order."""
    peer = new_peer(tls_required=tls_required)
    events: list[Event] = []
    everything = st.sampled_from([*SAID, *DONE])
    onwards = st.sampled_from([step for ways in WAYS.values() for step in ways[-1]])
    for _ in range(data.draw(st.integers(1, 12))):
        before = peer.stream.state
        what = data.draw(onwards | everything)
        cell = CELLS[before, peer.input_of(what)] if before is not State.CLOSED else "."
        if cell == "x" or (before is State.CLOSED and what == "TLS established"):
            continue
        peer.do(what)
        after = LETTERS.get(cell, State.CLOSED)
        assert peer.stream.state is after
        assert KEY.reveal().encode() not in peer.stream.data_to_send() or State.OPEN in (
            before,
            after,
        )
        events += peer.stream.events()
    what_may_come_of(events)
