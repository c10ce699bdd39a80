"""Any bytes to the authority listener end in answers or one end, and `valid` is said to no question
that the key service has not answered.

    python tests/fuzz/fuzz_authority.py [CORPUS]
"""

from __future__ import annotations

import sys

from sidecar.jobs import Verdict
from sidecar.names import Domain, StreamId
from sidecar.protocol.authority_events import ResultAsked, VerifyAsked
from sidecar.protocol.authority_stream import AuthorityStream
from sidecar.protocol.events import StreamClosed, TlsWanted

CAPULET = Domain.parse("capulet.example")
_INVALID = Verdict.invalid("key-wrong")


def one_input(data: bytes) -> None:
    """Raises AssertionError, or whatever escaped, when the invariant is broken."""
    flags, step = (data[0], data[0] // 8 + 1) if data else (0, 1)
    stream = AuthorityStream(
        speaks_for=lambda domain: domain == CAPULET,
        new_id=lambda: StreamId("ours"),
        offers_tls=bool(flags & 1),
        requires_tls=bool(flags & 2),
        encrypted=bool(flags & 4),
    )
    closed, sent = False, b""
    for place in range(1, len(data), step):
        stream.receive_data(data[place : place + step])
        for event in stream.events():
            assert not closed, "nothing comes after the end"
            closed = isinstance(event, StreamClosed)
            if isinstance(event, VerifyAsked | ResultAsked):
                assert CAPULET in event.pair
                stream.answer(event, _INVALID)
            elif isinstance(event, TlsWanted) and not stream.closed:
                stream.tls_established()
        sent += stream.data_to_send()
    stream.receive_eof()
    sent += stream.data_to_send()
    assert stream.closed
    assert b" type='valid'" not in sent


if __name__ == "__main__":
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
