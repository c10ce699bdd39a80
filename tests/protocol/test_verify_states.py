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

from sidecar.protocol.events import Cause, Event, StreamClosed, StreamOpened, TlsWanted
from sidecar.protocol.events import VerifyAnswered as Answered
from sidecar.protocol.verify_states import TRANSITIONS, Input, State
from sidecar.protocol.verify_stream import VerifyStream

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

    def do(self, what: str) -> Input:
        """Say or do it, and return the input that it is."""
        if what in DONE:
            received, act = DONE[what]
            act(self.stream)
            self.encrypted |= received is Input.SECURED
            return received
        received = self._input_of(what)
        said = SAID[what]
        if self.stream.state is State.HEADER_AWAITED:
            self.declared = what != "header that declares no dialback"
        elif "header" in what:
            said = said.removeprefix("<?xml version='1.0'?>") + END
        self.stream.receive_data(said.encode())
        return received

    def _input_of(self, what: str) -> Input:
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
def test_input_moves_the_stream_as_the_table_says(state, way, tls_required, what) -> None:
    peer = in_state(state, way, tls_required)
    if what in DONE and (state, DONE[what][0]) not in TRANSITIONS:
        with pytest.raises(ValueError, match=DONE[what][0].name):
            peer.do(what)
        assert peer.stream.state is state
        assert (peer.stream.events(), peer.stream.data_to_send()) == ([], b"")
        return
    received = peer.do(what)
    events, sent = peer.stream.events(), peer.stream.data_to_send()
    if state is State.CLOSED:
        assert (peer.stream.state, events, sent) == (State.CLOSED, [], b"")
    elif (state, received) in TRANSITIONS:
        assert peer.stream.state is TRANSITIONS[state, received]
        assert [event for event in events if getattr(event, "cause", None) is Cause.VIOLATION] == []
    else:
        assert peer.stream.state is State.CLOSED
        (closed,) = events
        assert (closed.cause, closed.unanswered) == (Cause.VIOLATION, ((PAIR, STREAM),))
        assert sent.endswith(b"</stream:error></stream:stream>")


CANNOT_HAPPEN = {
    *itertools.product(set(State) - {State.HEADER_AWAITED}, (Input.HEADER, Input.LEGACY_HEADER)),
    (State.OPEN, Input.NO_TLS),
    (State.CLOSED, Input.NO_TLS),
}
"""A header that is not the first is an element, and without TLS where TLS must be no stream
opens; what is said after the end is not looked at."""


def test_every_state_meets_every_input_that_can_happen_to_it() -> None:
    met = set()
    for state, way, tls_required, what in (case.values for case in CASES):
        peer = in_state(state, way, tls_required)
        met.add((state, DONE[what][0] if what in DONE else peer._input_of(what)))
    assert met == set(itertools.product(State, Input)) - CANNOT_HAPPEN
    assert not CANNOT_HAPPEN & set(TRANSITIONS)


def test_no_state_leads_out_of_the_end() -> None:
    assert {after for (before, _), after in TRANSITIONS.items() if before is State.CLOSED} == {
        State.CLOSED
    }


def what_may_come_of(events: list[Event]) -> None:
    """What holds for every life of a stream with one request on it."""
    kinds = [type(event) for event in events]
    assert kinds.count(StreamClosed) <= 1
    assert StreamClosed not in kinds[:-1]
    assert kinds.count(StreamOpened) <= 1
    assert kinds.count(TlsWanted) <= 1
    assert kinds.count(Answered) <= 1
    if Answered in kinds:
        assert kinds.index(StreamOpened) < kinds.index(Answered)
    if kinds[-1:] == [StreamClosed]:
        asked = () if Answered in kinds else ((PAIR, STREAM),)
        assert events[-1].unanswered == asked


@given(data=st.data(), tls_required=st.booleans())
def test_any_walk_follows_the_table(data, tls_required) -> None:
    """Invariant: after any inputs the state is the table's, the key was sent on open streams
    alone, and there was one opening, one answer and one end at most, in this order."""
    peer = new_peer(tls_required=tls_required)
    events: list[Event] = []
    everything = st.sampled_from([*SAID, *DONE])
    for _ in range(data.draw(st.integers(1, 12))):
        before = peer.stream.state
        onwards = st.sampled_from([step for way in WAYS.values() for step in way[-1]])
        what = data.draw(onwards | everything)
        if what in DONE and (before, DONE[what][0]) not in TRANSITIONS:
            continue
        after = TRANSITIONS.get((before, peer.do(what)), State.CLOSED)
        assert peer.stream.state is after
        assert KEY.reveal().encode() not in peer.stream.data_to_send() or State.OPEN in (
            before,
            after,
        )
        events += peer.stream.events()
    what_may_come_of(events)
