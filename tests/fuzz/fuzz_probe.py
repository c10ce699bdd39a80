"""Any bytes to the connection of a probe end in what was seen, never in an exception.

The server knows neither the key nor the stream ID that it is asked with: it may say what it likes.

    python tests/fuzz/fuzz_probe.py [CORPUS]
"""

from __future__ import annotations

import asyncio
import socket
import sys

from sidecar.jobs import Issue
from sidecar.names import DialbackKey, Domain
from sidecar.s2s.evidence import Certificates, utc_now
from sidecar.s2s.probe.judging import judge_connection
from sidecar.s2s.probe.stream import ProbeStream
from sidecar.s2s.tls import client_context

CAPULET, MONTAGUE = Domain.parse("capulet.example"), Domain.parse("montague.example")
_CONTEXT, _CERTIFICATES = client_context(), Certificates()


async def _issue(_: Issue) -> DialbackKey:
    return DialbackKey.parse("b4835385")


async def _feed(server: socket.socket, data: bytes, step: int) -> None:
    loop = asyncio.get_running_loop()
    try:
        for place in range(0, len(data), step):
            await loop.sock_sendall(server, data[place : place + step])
        server.shutdown(socket.SHUT_WR)
        while await loop.sock_recv(server, 65_536):
            pass
    except OSError:
        pass


async def _one_input(data: bytes) -> None:
    direct_tls, step = (bool(data[0] & 1), data[0] * 16 + 1) if data else (False, 1)
    ours, server = socket.socketpair()
    ours.setblocking(False)
    server.setblocking(False)
    feeding = asyncio.create_task(_feed(server, data[1:], step))
    stream = ProbeStream(ours, "192.0.2.1:5269", ip="192.0.2.1", local=MONTAGUE, remote=CAPULET)
    seen = await stream.look(
        _CONTEXT, direct_tls=direct_tls, issue=_issue, timeout_seconds=5.0, dialback_seconds=5.0
    )
    assert seen.trouble is not None or seen.dialback
    findings = judge_connection(seen, CAPULET, _CERTIFICATES, utc_now(), shown=True)
    assert all(finding.text.isprintable() for finding in findings)
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
    server.close()


_loop = asyncio.new_event_loop()


def one_input(data: bytes) -> None:
    """Raises AssertionError, or whatever escaped, when the invariant is broken."""
    _loop.run_until_complete(_one_input(data))


if __name__ == "__main__":
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
