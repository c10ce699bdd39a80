"""The outgoing verification stream: every flow, cut in every way."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from verify_flows import (
    CAPULET,
    FEATURES,
    FEATURES_TLS,
    FLOWS,
    HEADER,
    KEY,
    MONTAGUE,
    OPEN,
    PAIR,
    PROCEED,
    STREAM,
    answer,
)

from sidecar.jobs import Outcome
from sidecar.names import Domain, DomainPair, StreamId
from sidecar.protocol.events import (
    AnswerDropped,
    Cause,
    Event,
    StreamClosed,
    StreamOpened,
    TlsWanted,
    VerifyAnswered,
)
from sidecar.protocol.verify_stream import VerifyStream

REQUEST = (
    b"<db:verify from='montague.example' to='capulet.example' id='D60000229F'>"
    b"b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3</db:verify>"
)
OUR_HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:server' "
    b"xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' "
    b"from='montague.example' to='capulet.example' version='1.0'>"
)


def new_stream(**options: bool) -> VerifyStream:
    stream = VerifyStream(local=MONTAGUE, remote=CAPULET, **options)
    stream.verify(PAIR, STREAM, KEY)
    return stream


Cuts = Callable[[int], Iterable[int]]


def pieces(text: str, cuts: Cuts) -> Iterator[bytes]:
    """The bytes of `text`, cut at those of its size that `cuts` says."""
    data = text.encode()
    for start, end in itertools.pairwise([0, *sorted(cuts(len(data))), len(data)]):
        yield data[start:end]


def nowhere(size: int) -> Iterable[int]:
    return ()


def everywhere(size: int) -> Iterable[int]:
    return range(1, size)


def replay(flow_name: str, cuts: Cuts) -> tuple[list[Event], bytes]:
    """Return all events and all bytes sent."""
    flow = FLOWS[flow_name]
    stream = new_stream(**flow.stream)
    events, sent = stream.events(), stream.data_to_send()
    for text in (flow.says, flow.inside_tls):
        if text is flow.inside_tls and text:
            stream.tls_established()
        for piece in pieces(text, cuts):
            stream.receive_data(piece)
            events += stream.events()
            sent += stream.data_to_send()
    return events, sent


def opened(**options: bool) -> VerifyStream:
    stream = new_stream(**options)
    stream.receive_data(OPEN.encode())
    stream.events()
    stream.data_to_send()
    return stream


@pytest.mark.parametrize("name", FLOWS)
def test_flow_gives_the_expected_events(name):
    flow = FLOWS[name]
    events, sent = replay(name, nowhere)
    answers = [event for event in events if isinstance(event, VerifyAnswered)]
    assert tuple((event.outcome, event.condition) for event in answers) == flow.answers
    assert all((event.pair, event.stream) == (PAIR, STREAM) for event in answers)
    assert sum(isinstance(event, AnswerDropped) for event in events) == flow.dropped
    assert any(isinstance(event, StreamOpened) for event in events) == flow.opened
    assert (REQUEST in sent) == flow.opened
    closed = [event for event in events if isinstance(event, StreamClosed)]
    if flow.cause is None:
        assert not closed
    else:
        assert closed == events[-1:]
        assert (closed[0].cause, closed[0].condition) == (flow.cause, flow.condition)
        assert closed[0].unanswered == (() if flow.answers else ((PAIR, STREAM),))
        assert sent.endswith(b"</stream:stream>")


@pytest.mark.parametrize("name", FLOWS)
def test_flow_comes_out_the_same_byte_by_byte(name):
    assert replay(name, everywhere) == replay(name, nowhere)


@pytest.mark.parametrize("name", FLOWS)
@settings(max_examples=15)
@given(data=st.data())
def test_flow_comes_out_the_same_in_any_pieces(name, data):
    """Invariant: events and bytes sent depend on what the peer says, not on how it is cut."""

    def anywhere(size: int) -> Iterable[int]:
        return data.draw(st.sets(st.integers(0, size), max_size=10))

    assert replay(name, anywhere) == replay(name, nowhere)


@settings(max_examples=200)
@given(
    st.lists(
        st.builds(
            answer,
            st.sampled_from(["valid", "invalid", "error", "", "Valid", None]),
            sender=st.sampled_from(["capulet.example", "montague.example", "x.example", ""]),
            target=st.sampled_from(["capulet.example", "montague.example", "x.example", ""]),
            stream=st.sampled_from(["D60000229F", "d60000229f", "D60000229F ", "x", ""]),
            name=st.sampled_from(["db:verify", "db:result", "verify"]),
        ),
        max_size=6,
    )
)
def test_only_the_exact_answer_is_ever_an_answer(answers):
    """Invariant: whatever a peer says, each request is answered at most once, and only by an
    element that is exactly its answer."""
    stream = opened()
    stream.receive_data("".join(answers).encode())
    found = [event for event in stream.events() if isinstance(event, VerifyAnswered)]
    exact = [
        kind for text in answers for kind in ("valid", "invalid", "error") if text == answer(kind)
    ]
    assert [event.outcome.value for event in found] == exact[:1]


@given(
    st.lists(st.binary(max_size=30) | st.sampled_from([b"<", b"/>", b"<db:verify "]), max_size=9)
)
def test_garbage_is_never_an_answer_and_never_an_exception(pieces):
    """Invariant: whatever bytes come, the stream stays open or says once why it is over."""
    for stream in (new_stream(), opened()):
        events: list[Event] = []
        for piece in pieces:
            stream.receive_data(piece)
            events += stream.events()
        assert not any(isinstance(event, VerifyAnswered | StreamOpened) for event in events)
        assert sum(isinstance(event, StreamClosed) for event in events) == stream.closed


# what flows do not show


def test_header_goes_out_first_and_the_request_only_when_the_stream_is_open():
    stream = new_stream()
    assert stream.data_to_send() == OUR_HEADER
    stream.receive_data(HEADER.encode())
    assert stream.data_to_send() == b""
    stream.receive_data(FEATURES.encode())
    assert stream.data_to_send() == REQUEST
    opened = StreamOpened("peer1", encrypted=False, legacy=False, dialback_errors=True)
    assert stream.events() == [opened]


def test_stream_begins_anew_after_starttls():
    stream = new_stream()
    stream.data_to_send()
    stream.receive_data((HEADER + FEATURES_TLS).encode())
    assert stream.data_to_send() == b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
    assert stream.events() == []
    stream.receive_data(PROCEED.encode())
    assert stream.events() == [TlsWanted()]
    assert stream.data_to_send() == b""
    stream.tls_established()
    assert stream.data_to_send() == OUR_HEADER
    stream.receive_data(OPEN.replace("peer1", "peer2").encode())
    assert stream.data_to_send() == REQUEST
    assert stream.events() == [
        StreamOpened("peer2", encrypted=True, legacy=False, dialback_errors=True)
    ]


def test_half_an_element_before_tls_is_forgotten_after_it():
    """The classic injection: clear text that is only understood inside TLS."""
    stream = new_stream()
    stream.receive_data((HEADER + FEATURES_TLS + PROCEED + "<db:verify from='capu").encode())
    assert stream.events() == [TlsWanted()]
    stream.tls_established()
    stream.receive_data(OPEN.encode() + answer("invalid").encode())
    assert [event.outcome for event in stream.events() if isinstance(event, VerifyAnswered)] == [
        Outcome.INVALID
    ]


@pytest.mark.parametrize("cuts", [nowhere, everywhere])
def test_domain_pairs_share_a_stream_and_are_answered_in_any_order(cuts):
    stream = opened()
    other = DomainPair(sender=CAPULET, target=CAPULET)
    stream.verify(other, STREAM, KEY)
    stream.verify(PAIR, StreamId.parse("second"), KEY)
    assert stream.data_to_send().count(b"<db:verify ") == 2
    answers = answer("invalid", stream="second") + answer(target="capulet.example")
    for piece in pieces(answers + answer("error"), cuts):
        stream.receive_data(piece)
    assert [(e.pair, e.stream, e.outcome) for e in stream.events()] == [
        (PAIR, "second", Outcome.INVALID),
        (other, STREAM, Outcome.VALID),
        (PAIR, STREAM, Outcome.ERROR),
    ]


def test_request_that_is_outstanding_cannot_be_asked_again():
    stream = opened()
    with pytest.raises(ValueError, match="outstanding"):
        stream.verify(PAIR, STREAM, KEY)
    stream.receive_data(answer().encode())
    stream.verify(PAIR, STREAM, KEY)
    assert stream.data_to_send() == REQUEST


def test_stream_that_is_over_takes_no_request():
    stream = opened()
    stream.close()
    with pytest.raises(ValueError, match="over"):
        stream.verify(PAIR, STREAM, KEY)


def test_lost_connection_fails_what_is_pending():
    stream = opened()
    stream.receive_eof()
    assert stream.events() == [StreamClosed(Cause.PEER_CLOSED, unanswered=((PAIR, STREAM),))]
    assert stream.data_to_send() == b""


def test_markup_in_an_id_is_escaped_in_the_request():
    stream = opened()
    stream.verify(PAIR, StreamId.parse("a'><b&\"c"), KEY)
    assert b" id='a&apos;&gt;&lt;b&amp;\"c'>" in stream.data_to_send()


def test_international_domains_are_written_as_u_labels():
    domain = Domain.parse("xn--bcher-kva.example")
    stream = VerifyStream(local=MONTAGUE, remote=domain)
    assert " to='bücher.example'".encode() in stream.data_to_send()


def test_no_event_and_no_repr_shows_the_key():
    stream = new_stream()
    stream.receive_data((OPEN + answer(stream="other", inner=KEY.reveal())).encode())
    assert KEY.reveal() not in repr(stream.events()) + repr(stream)


def test_events_are_values():
    event = StreamOpened("a", encrypted=False, legacy=False)
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.id = "b"
