"""The inbound stream of the authority: every flow, cut in every way; every state and input."""

from __future__ import annotations

import itertools

import pytest
from authority_flows import (
    ASKED,
    END,
    FLOWS,
    HEADER,
    KEY,
    LEGACY_HEADER,
    STARTTLS,
    Question,
    error,
    result,
    verify,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.jobs import Condition, Verdict
from sidecar.names import Domain, StreamId
from sidecar.protocol.authority_events import (
    AuthorityEvent,
    RequestRefused,
    ResultAsked,
    StanzaDropped,
    VerifyAsked,
)
from sidecar.protocol.authority_states import TRANSITIONS, Input, State
from sidecar.protocol.authority_stream import AuthorityStream
from sidecar.protocol.events import AnswerDropped, Cause, StreamClosed, TlsWanted
from sidecar.protocol.stream import quoted
from sidecar.protocol.xml import Element, XmlStream

OURS = ("capulet.example", "rooms.capulet.example", "bücher.example")
OUR_HEADER = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:server' "
    "xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' "
    "id='ours1' from='capulet.example' to='montague.example' xml:lang='en' version='1.0'>"
)
FEATURES = (
    "<stream:features>%s<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"
    "</stream:features>"
)
TLS_FEATURE = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>%s</starttls>"


def new_stream(**options: bool) -> AuthorityStream:
    ids = (StreamId(f"ours{number}") for number in itertools.count(1))
    return AuthorityStream(
        speaks_for=lambda domain: domain in OURS, new_id=lambda: next(ids), **options
    )


def replay(flow_name: str, cuts: list[int]) -> tuple[list[AuthorityEvent], bytes]:
    """Return all events and all bytes sent. Questions are answered at the end."""
    flow = FLOWS[flow_name]
    stream = new_stream(**flow.stream)
    data = flow.says.encode()
    for start, end in itertools.pairwise([0, *cuts, len(data)]):
        stream.receive_data(data[start:end])
    events = stream.events()
    for event in events:
        if isinstance(event, VerifyAsked):
            stream.answer(event, Verdict.valid())
    return events + stream.events(), stream.data_to_send()


def asked(event: VerifyAsked) -> Question:
    return (event.pair.sender, event.pair.target, event.stream, event.key.reveal())


@pytest.mark.parametrize("name", FLOWS)
def test_flow_gives_the_expected_events_and_answers(name):
    flow = FLOWS[name]
    events, sent = replay(name, [])
    text = sent.decode()
    assert tuple(asked(e) for e in events if isinstance(e, VerifyAsked)) == flow.asks
    assert tuple(e.pair for e in events if isinstance(e, ResultAsked)) == flow.wants
    assert sum(isinstance(event, AnswerDropped) for event in events) == flow.dropped
    closed = [event for event in events if isinstance(event, StreamClosed)]
    if flow.cause is None:
        assert not closed
        assert not text.endswith(END)
    else:
        assert closed == events[-1:]
        assert (closed[0].cause, closed[0].condition) == (flow.cause, flow.condition)
        assert text.endswith(END)
        assert text.count(END) == 1
    assert text.startswith("<?xml version='1.0'?><stream:stream ")
    place = 0
    for answer in flow.at_once:
        place = text.index(answer, place) + len(answer)
    if flow.cause is Cause.VIOLATION and flow.condition is not None:
        assert f"<stream:error><{flow.condition} xmlns=" in text
    refused = [event for event in events if isinstance(event, RequestRefused)]
    assert len(refused) == sum(each.startswith("<db:") for each in flow.at_once)


@pytest.mark.parametrize("name", FLOWS)
def test_flow_comes_out_the_same_byte_by_byte(name):
    assert replay(name, list(range(1, len(FLOWS[name].says.encode())))) == replay(name, [])


@pytest.mark.parametrize("name", FLOWS)
@settings(max_examples=10)
@given(data=st.data())
def test_flow_comes_out_the_same_in_any_pieces(name, data):
    """Invariant: events and answers depend on what the peer says, not on how it is cut."""
    size = len(FLOWS[name].says.encode())
    cuts = sorted(data.draw(st.sets(st.integers(0, size), max_size=10)))
    assert replay(name, cuts) == replay(name, [])


@pytest.mark.parametrize("name", FLOWS)
def test_key_is_in_no_answer_and_in_no_repr(name):
    events, sent = replay(name, [])
    assert KEY not in sent.decode()
    assert KEY not in repr([e for e in events if not isinstance(e, AnswerDropped)])


attribute = st.text(
    st.characters(codec="utf-8", exclude_characters="\ufffe\uffff", exclude_categories=["Cc", "Cs"])
    | st.sampled_from("\t\n\r'<&>\""),
    max_size=12,
)


@given(target=attribute, stream=attribute, data=st.data())
def test_answer_echoes_whatever_was_asked(target, stream, data):
    """Invariant: parsed again, an answer has the request's attributes, the first two swapped."""
    sender = data.draw(st.sampled_from(OURS) | attribute)
    stream_ = new_stream()
    stream_.receive_data(HEADER.encode())
    stream_.receive_data(
        (
            f"<db:verify from={quoted(target)} to={quoted(sender)} id={quoted(stream)}>"
            f"{KEY}</db:verify>"
        ).encode()
    )
    for event in stream_.events():
        if isinstance(event, VerifyAsked):
            stream_.answer(event, Verdict.invalid("key-wrong"))
    parser = XmlStream()
    parser.feed(stream_.data_to_send())
    answer = list(parser.parts())[-1]
    assert isinstance(answer, Element)
    attributes = dict(answer.attributes)
    assert attributes.pop("type") in ("invalid", "error")
    assert attributes == {"from": sender, "to": target, "id": stream}


@given(
    st.lists(
        st.sampled_from([flow.says.removeprefix(HEADER) for flow in FLOWS.values()])
        | st.binary(max_size=20)
        | st.sampled_from([HEADER, END, STARTTLS]),
        max_size=8,
    ),
    st.booleans(),
)
def test_whatever_is_said_the_stream_stays_open_or_ends_once(pieces, opened):
    """Invariant: no bytes raise, and after the one event of the end there is no other."""
    stream = new_stream()
    events: list[AuthorityEvent] = []
    if opened:
        stream.receive_data(HEADER.encode())
    for piece in pieces:
        stream.receive_data(piece if isinstance(piece, bytes) else piece.encode())
        events += stream.events()
    ends = [index for index, event in enumerate(events) if isinstance(event, StreamClosed)]
    assert len(ends) == stream.closed
    assert ends in ([], [len(events) - 1])
    assert stream.data_to_send().count(END.encode()) == len(ends)


# every (state, input)

PEER_INPUTS: dict[Input, str] = {
    Input.HEADER: HEADER,
    Input.STARTTLS: STARTTLS,
    Input.REQUEST: verify(),
    Input.ANSWER: verify().replace("'>", "' type='valid'>"),
    Input.SASL: "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>",
    Input.STREAM_ERROR: "<stream:error/>",
    Input.STREAM_END: END,
}
HOW_TO_GET_TO = {
    State.HEADER_AWAITED: "",
    State.OPEN: HEADER,
    State.HANDSHAKE: HEADER + STARTTLS,
    State.ENDING: HEADER + verify() + END,
    State.CLOSED: HEADER + END,
}


def in_state(state: State) -> AuthorityStream:
    stream = new_stream(offers_tls=True)
    stream.receive_data(HOW_TO_GET_TO[state].encode())
    assert stream.state is state
    stream.events()
    return stream


@pytest.mark.parametrize("received", PEER_INPUTS, ids=lambda received: received.name)
@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_what_the_peer_sends_moves_the_stream_as_the_table_says(state, received):
    stream = in_state(state)
    stream.receive_data(PEER_INPUTS[received].encode())
    events = stream.events()
    if state in (State.ENDING, State.CLOSED):  # the peer has said that it says no more
        assert events == []
        assert stream.state is state
    elif (state, received) in TRANSITIONS:
        after = TRANSITIONS[state, received]
        ended = after is State.ENDING  # nothing was pending
        assert stream.state is (State.CLOSED if ended else after)
        assert not any(getattr(event, "cause", None) is Cause.VIOLATION for event in events)
    else:
        assert stream.state is State.CLOSED
        assert events[-1].cause is Cause.VIOLATION
        assert stream.data_to_send().endswith(b"</stream:error></stream:stream>")


LOCAL_INPUTS = {
    Input.EOF: AuthorityStream.receive_eof,
    Input.SECURED: AuthorityStream.tls_established,
    Input.CLOSE: AuthorityStream.close,
}


@pytest.mark.parametrize("received", LOCAL_INPUTS, ids=lambda received: received.name)
@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_what_we_do_moves_the_stream_as_the_table_says(state, received):
    stream = in_state(state)
    if (state, received) in TRANSITIONS:
        LOCAL_INPUTS[received](stream)
        after = TRANSITIONS[state, received]
        ended = after is State.ENDING and not stream.pending
        assert stream.state is (State.CLOSED if ended else after)
    else:
        with pytest.raises(ValueError, match=received.name):
            LOCAL_INPUTS[received](stream)
        assert stream.state is state


def test_every_input_is_tried_in_the_tests_above_or_below():
    below = {Input.TLS_REFUSED, Input.STANZA, Input.ANSWERED}
    assert {*PEER_INPUTS, *LOCAL_INPUTS} | below == set(Input)


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_answer_is_sent_until_the_stream_is_over(state):
    stream = in_state(State.OPEN)
    stream.data_to_send()
    stream.receive_data(verify().encode())
    (question,) = stream.events()
    if state is State.ENDING:
        stream.receive_data(END.encode())
    elif state is State.CLOSED:
        stream.close()
    elif state is not State.OPEN:
        return  # no question is pending there
    before = stream.data_to_send()
    stream.answer(question, Verdict.valid())
    answer = (
        b"<db:verify from='capulet.example' to='montague.example' id='D60000229F' type='valid'/>"
    )
    end = END.encode() if state is State.ENDING else b""
    assert (before, stream.data_to_send()) == (
        (END.encode(), b"") if state is State.CLOSED else (b"", answer + end)
    )


# what flows do not show


def test_header_and_features_answer_a_header():
    stream = new_stream()
    stream.receive_data(HEADER.encode())
    assert stream.data_to_send().decode() == OUR_HEADER + FEATURES % ""


@pytest.mark.parametrize("required", [False, True])
def test_tls_is_offered_and_maybe_required(required):
    stream = new_stream(offers_tls=True, requires_tls=required)
    stream.receive_data(HEADER.encode())
    tls = TLS_FEATURE % ("<required/>" if required else "")
    assert stream.data_to_send().decode() == OUR_HEADER + FEATURES % tls


def test_legacy_server_gets_neither_version_nor_features():
    stream = new_stream(offers_tls=True)
    stream.receive_data(LEGACY_HEADER.encode())
    legacy = OUR_HEADER.replace(" xml:lang='en' version='1.0'", "")
    assert stream.data_to_send().decode() == legacy


def test_stream_begins_anew_after_starttls_under_another_id():
    stream = new_stream(offers_tls=True, requires_tls=True)
    stream.receive_data((HEADER + STARTTLS).encode())
    assert stream.events() == [TlsWanted()]
    assert stream.data_to_send().endswith(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    stream.tls_established()
    stream.receive_data((HEADER + verify()).encode())
    assert stream.data_to_send().decode() == OUR_HEADER.replace("ours1", "ours2") + FEATURES % ""
    (question,) = stream.events()
    assert asked(question) == ASKED


def test_half_an_element_before_tls_is_forgotten_after_it():
    """The classic injection: clear text that is only understood inside TLS."""
    stream = new_stream(offers_tls=True)
    stream.receive_data((HEADER + STARTTLS + "<db:verify from='mont").encode())
    stream.tls_established()
    stream.events()
    stream.receive_data((HEADER + verify()).encode())
    (question,) = stream.events()
    assert asked(question) == ASKED


def test_questions_are_answered_in_any_order():
    stream = in_state(State.OPEN)
    stream.receive_data((verify() + verify(stream="2")).encode())
    first, second = stream.events()
    stream.data_to_send()
    stream.answer(second, Verdict.invalid("key-wrong"))
    stream.answer(first, Verdict.error(Condition.INTERNAL_SERVER_ERROR, "outage"))
    assert stream.data_to_send().decode() == (
        "<db:verify from='capulet.example' to='montague.example' id='2' type='invalid'/>"
        + error("internal-server-error", "cancel")
    )


def authorised() -> AuthorityStream:
    stream = in_state(State.OPEN)
    stream.receive_data(result().encode())
    (question,) = stream.events()
    assert isinstance(question, ResultAsked)
    assert question.stream == "ours1"
    stream.data_to_send()
    stream.answer(question, Verdict.valid())
    return stream


def test_stanza_on_an_authorised_stream_is_dropped_and_questions_go_on():
    stream = authorised()
    assert stream.data_to_send() == (
        b"<db:result from='capulet.example' to='montague.example' type='valid'/>"
    )
    stream.receive_data(f"<message/>{verify()}<presence/>".encode())
    dropped, question, again = stream.events()
    assert (dropped, again) == (StanzaDropped("message"), StanzaDropped("presence"))
    assert asked(question) == ASKED


def test_invalid_result_ends_a_stream_that_nothing_else_has_authorised():
    """XEP-0220 §2.2.1: it MUST be closed then."""
    stream = in_state(State.OPEN)
    stream.receive_data(result().encode())
    (question,) = stream.events()
    stream.data_to_send()
    stream.answer(question, Verdict.invalid("answer-invalid"))
    assert stream.data_to_send() == (
        b"<db:result from='capulet.example' to='montague.example' type='invalid'/>"
        b"<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
        b"</stream:error></stream:stream>"
    )
    assert stream.closed


def test_invalid_result_leaves_open_what_another_pair_has_authorised():
    stream = authorised()
    stream.receive_data(result(sender="verona.example").encode())
    (question,) = stream.events()
    stream.answer(question, Verdict.invalid("answer-invalid"))
    assert stream.state is State.OPEN


def test_our_own_end_can_say_why():
    stream = in_state(State.OPEN)
    stream.data_to_send()
    stream.close("system-shutdown")
    assert stream.data_to_send() == (
        b"<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
        b"</stream:error></stream:stream>"
    )
    assert stream.events() == [StreamClosed(Cause.OURS, "system-shutdown")]


def test_names_that_never_come_twice_end_the_stream_before_they_fill_the_memory():
    stream = in_state(State.OPEN)
    for number in range(10_000):
        stream.receive_data(f"<db:verify a{number:0200}='x'/>".encode())
        if stream.closed:
            break
    assert stream.events()[-1].condition == "policy-violation"
    assert number < 500


def test_a_standing_stream_takes_questions_for_ever():
    stream = in_state(State.OPEN)
    batch = verify().encode() * 100
    for _ in range(50):
        stream.receive_data(batch)
    assert len(stream.events()) == 5_000
    assert not stream.closed


def test_domain_of_ours_is_asked_as_it_is_called(monkeypatch):
    seen: list[Domain] = []
    stream = AuthorityStream(
        speaks_for=lambda domain: not seen.append(domain), new_id=lambda: StreamId("x")
    )
    stream.receive_data((LEGACY_HEADER + verify(sender="XN--BCHER-KVA.example")).encode())
    assert seen == ["capulet.example", "bücher.example"]
