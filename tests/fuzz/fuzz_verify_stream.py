"""Any bytes to an outgoing verification stream end in events, never in an exception or `valid`.

The stream ID of the question is drawn anew each time, so that no input can hold its answer.

    python tests/fuzz/fuzz_verify_stream.py [CORPUS]
"""

from __future__ import annotations

import secrets
import sys

from sidecar.jobs import Outcome
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.protocol.events import StreamClosed, TlsWanted, VerifyAnswered
from sidecar.protocol.verify_stream import VerifyStream

CAPULET, MONTAGUE = Domain.parse("capulet.example"), Domain.parse("montague.example")
PAIR = DomainPair(sender=CAPULET, target=MONTAGUE)


def one_input(data: bytes) -> None:
    """Raises AssertionError, or whatever escaped, when the invariant is broken."""
    direct_tls, tls_required, step = False, False, 1
    if data:
        direct_tls, tls_required, step = bool(data[0] & 1), bool(data[0] & 2), data[0] // 4 + 1
    stream = VerifyStream(
        local=MONTAGUE, remote=CAPULET, encrypted=direct_tls, tls_required=tls_required
    )
    stream.verify(PAIR, StreamId.parse(secrets.token_hex(16)), DialbackKey.parse("b4835385"))
    closed = False
    for place in range(1, len(data), step):
        stream.receive_data(data[place : place + step])
        stream.data_to_send()
        for event in stream.events():
            assert not closed, "nothing comes after the end"
            assert not isinstance(event, VerifyAnswered) or event.outcome is not Outcome.VALID
            closed = isinstance(event, StreamClosed)
            if isinstance(event, TlsWanted):
                stream.tls_established()
    stream.receive_eof()
    assert closed or isinstance(stream.events()[-1], StreamClosed)


if __name__ == "__main__":
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
