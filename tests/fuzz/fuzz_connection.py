"""Any bytes to an outbound connection end in one failure for its question, and in nothing else.

python tests/fuzz/fuzz_connection.py [CORPUS]
"""

from __future__ import annotations

import asyncio
import secrets
import sys

from sidecar.jobs import Check
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.s2s.channel import Channel
from sidecar.s2s.failures import Failure
from sidecar.s2s.tls import client_context

CAPULET, MONTAGUE = Domain.parse("capulet.example"), Domain.parse("montague.example")
PAIR = DomainPair(sender=CAPULET, target=MONTAGUE)
_CONTEXTS = (client_context(), client_context(direct=True))


class Sink(asyncio.Transport):
    """Takes everything."""

    closed = False

    def write(self, data: object) -> None:
        assert data

    def close(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0


async def _one_input(data: bytes) -> None:
    direct_tls, step = (bool(data[0] & 1), data[0] // 2 + 1) if data else (False, 1)
    channel = Channel(
        local=MONTAGUE,
        remote=CAPULET,
        place="192.0.2.1:5269",
        context=_CONTEXTS[direct_tls],
        direct_tls=direct_tls,
        tls_required=direct_tls,
    )
    check = Check(
        pair=PAIR,
        stream=StreamId.parse(secrets.token_hex(16)),
        key=DialbackKey.parse("b4835385"),
    )
    answer = channel.prove(check, lambda _: None)
    channel.connection.connection_made(Sink())
    for place in range(1, len(data), step):
        channel.connection.data_received(data[place : place + step])
    channel.connection.connection_lost(None)
    assert isinstance(answer.result(), Failure)
    assert channel.ended


_loop = asyncio.new_event_loop()


def one_input(data: bytes) -> None:
    """Raises AssertionError, or whatever escaped, when the invariant is broken."""
    _loop.run_until_complete(_one_input(data))


if __name__ == "__main__":
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
