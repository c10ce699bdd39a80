"""One client of keyd: bytes in, admitted requests out; replies in, bytes out."""

from __future__ import annotations

import socket
from collections import deque

from sidecar.keyd.request_table import Capability, admit
from sidecar.keys.framing import FrameReader, decode_requests, encode_frame
from sidecar.keys.messages import Question, Reply, Request

_READ_BYTES = 64 * 1024
_REPLIES_PER_FRAME = 1024


class Connection:
    """A non-blocking connection and what it was granted."""

    def __init__(self, connection: socket.socket, granted: frozenset[Capability]) -> None:
        self.socket = connection
        self.blocked = False
        self.questions: deque[tuple[int, Question]] = deque()
        """What it asked as an operator and waits for."""
        self._granted = granted
        self._reader = FrameReader()
        self._unsent = b""
        self._replies: list[tuple[int, Reply]] = []

    def read(self) -> list[tuple[int, Request]] | None:
        """Return the requests that have arrived; None when the client is gone.

        Raises BadFrame, NotPermitted, InvalidValue, OSError: the client loses its connection.
        """
        try:
            data = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        if not data:
            return None
        arrived: list[tuple[int, Request]] = []
        for payload in self._reader.feed(data):
            arrived += decode_requests(payload)
        for _, request in arrived:
            admit(request, self._granted)
        return arrived

    def reply(self, message_id: int, reply: Reply) -> None:
        """Add a reply to what `flush` sends."""
        self._replies.append((message_id, reply))

    def flush(self) -> bool:
        """Send what is waiting; return whether all of it is gone. Raises OSError."""
        replies, self._replies = self._replies, []
        for start in range(0, len(replies), _REPLIES_PER_FRAME):
            self._unsent += encode_frame(replies[start : start + _REPLIES_PER_FRAME])
        while self._unsent:
            try:
                sent = self.socket.send(self._unsent)
            except BlockingIOError:
                return False
            self._unsent = self._unsent[sent:]
        return True
