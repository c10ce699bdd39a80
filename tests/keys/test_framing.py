"""Frames and messages: what goes in comes out, and nonsense is nothing but a BadFrame."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.keys.framing import (
    MAX_FRAME_BYTES,
    BadFrame,
    FrameReader,
    decode_replies,
    decode_requests,
    encode_frame,
)
from sidecar.keys.messages import (
    MAX_PER_FRAME,
    Done,
    EndKey,
    Failed,
    IssueKey,
    Judged,
    KeyIssued,
    Refused,
    VerifyKey,
)

ids = st.integers(0, 2**32 - 1)
texts = st.text(max_size=300)
requests = st.one_of(
    st.builds(IssueKey, texts, texts, texts),
    st.builds(VerifyKey, texts, texts, texts, texts),
    st.builds(EndKey, texts, texts, texts),
)
replies = st.one_of(
    st.builds(KeyIssued, texts),
    st.builds(Refused, texts),
    st.builds(Judged, st.sampled_from(["valid", "invalid", "error"]), st.none() | texts),
    st.just(Done()),
    st.builds(Failed, texts),
)


def batches(messages):
    return st.lists(st.tuples(ids, messages), max_size=5)


@given(st.lists(batches(requests), max_size=3), st.integers(1, 50))
def test_requests_arrive_whatever_the_pieces(sent, piece_bytes):
    data = b"".join(encode_frame(batch) for batch in sent)
    reader = FrameReader()
    arrived = []
    for start in range(0, len(data), piece_bytes):
        arrived += reader.feed(data[start : start + piece_bytes])
    assert [decode_requests(payload) for payload in arrived] == sent


@given(batches(replies))
def test_replies_arrive(batch):
    (payload,) = FrameReader().feed(encode_frame(batch))
    assert decode_replies(payload) == batch


@given(st.binary(max_size=200))
def test_any_bytes_are_a_batch_or_a_bad_frame(payload):
    for decode in (decode_requests, decode_replies):
        try:
            assert isinstance(decode(payload), list)
        except BadFrame:
            pass


@given(batches(requests), st.data())
def test_damaged_frame_is_a_batch_or_a_bad_frame(batch, data):
    frame = bytearray(encode_frame(batch))
    place = data.draw(st.integers(0, len(frame) - 1))
    frame[place] ^= data.draw(st.integers(1, 255))
    try:
        for payload in FrameReader().feed(bytes(frame)):
            decode_requests(payload)
    except BadFrame:
        pass


def test_too_long_a_frame_is_refused_before_it_arrives():
    header = (MAX_FRAME_BYTES + 1).to_bytes(4, "big")
    with pytest.raises(BadFrame, match="at most 524288 bytes, got 524289"):
        list(FrameReader().feed(header))


def test_longest_requests_fit_a_full_frame():
    domain = "\u00fc" * 506
    longest = VerifyKey(domain, domain, "s" * 256, "k" * 256)
    frame = encode_frame([(2**32 - 1, longest)] * MAX_PER_FRAME)
    assert len(frame) <= MAX_FRAME_BYTES


def test_too_many_requests_in_a_frame_are_refused():
    frame = encode_frame([(1, IssueKey("a", "b", "c"))] * (MAX_PER_FRAME + 1))
    with pytest.raises(BadFrame, match="at most 128 requests in a frame, got 129"):
        decode_requests(frame[4:])


@pytest.mark.parametrize(
    "batch",
    [
        [[1, ["issue", "a", "b"]]],
        [[1, ["issue", "a", "b", "c", "d"]]],
        [[1, ["issue", "a", "b", 3]]],
        [[1, ["judged", "valid", None]]],
        [[1, ["rotate", "a"]]],
        [[-1, ["issue", "a", "b", "c"]]],
        [[2**32, ["issue", "a", "b", "c"]]],
        [["1", ["issue", "a", "b", "c"]]],
        {"1": ["issue", "a", "b", "c"]},
        [1],
        None,
    ],
)
def test_what_is_no_request_is_a_bad_frame(batch):
    with pytest.raises(BadFrame, match="expected a batch of requests"):
        decode_requests(msgspec.msgpack.encode(batch))


def test_bad_frame_shows_no_field():
    payload = msgspec.msgpack.encode([[1, ["verify", "a", "b", "c", "SECRET", "more"]]])
    with pytest.raises(BadFrame) as caught:
        decode_requests(payload)
    assert "SECRET" not in str(caught.value)
