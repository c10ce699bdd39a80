"""Frames on the Unix socket: a length in 4 bytes, big-endian, then that many bytes of msgpack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from sidecar.errors import SidecarError
from sidecar.keys.messages import MAX_PER_FRAME, MessageId, Reply, Request

MAX_FRAME_BYTES = 512 * 1024
"""Holds MAX_PER_FRAME of the longest requests; a longer frame is refused unread."""

_LENGTH_BYTES = 4
_encoder = msgspec.msgpack.Encoder()
_requests = msgspec.msgpack.Decoder(list[tuple[MessageId, Request]])
_replies = msgspec.msgpack.Decoder(list[tuple[MessageId, Reply]])


class BadFrame(SidecarError):
    """Bytes that are no frame of ours; whoever sent them loses the connection."""


class FrameReader:
    """Cuts a byte stream into frames; holds at most one incomplete frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the payload of each frame that `data` completes. Raises BadFrame."""
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= _LENGTH_BYTES:
            length = int.from_bytes(self._buffer[start : start + _LENGTH_BYTES], "big")
            if length > MAX_FRAME_BYTES:
                raise BadFrame(f"expected a frame of at most {MAX_FRAME_BYTES} bytes, got {length}")
            end = start + _LENGTH_BYTES + length
            if len(self._buffer) < end:
                break
            yield bytes(self._buffer[start + _LENGTH_BYTES : end])
            start = end
        del self._buffer[:start]


def encode_frame(batch: Sequence[tuple[int, Request]] | Sequence[tuple[int, Reply]]) -> bytes:
    """Return one whole frame."""
    frame = bytearray(_LENGTH_BYTES)
    _encoder.encode_into(batch, frame, _LENGTH_BYTES)
    frame[:_LENGTH_BYTES] = (len(frame) - _LENGTH_BYTES).to_bytes(_LENGTH_BYTES, "big")
    return bytes(frame)


def decode_requests(payload: bytes) -> list[tuple[int, Request]]:
    """Return the batch in a frame's payload. Raises BadFrame; its text holds no field."""
    try:
        batch = _requests.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame("expected a batch of requests") from error
    if len(batch) > MAX_PER_FRAME:
        raise BadFrame(f"expected at most {MAX_PER_FRAME} requests in a frame, got {len(batch)}")
    return batch


def decode_replies(payload: bytes) -> list[tuple[int, Reply]]:
    """Return the batch in a frame's payload. Raises BadFrame; its text holds no field."""
    try:
        return _replies.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame("expected a batch of replies") from error
