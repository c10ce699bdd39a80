"""The TCP connection to a component port, with a kernel that notices a peer that vanished."""

from __future__ import annotations

import asyncio
import socket

_IDLE_SECONDS = 30
_PROBE_SECONDS = 10
_PROBES = 3
_UNACKNOWLEDGED_SECONDS = 30


async def connect(host: str, port: int, timeout_seconds: float) -> socket.socket:
    """Return a connected, non-blocking socket; every address of `host` is tried in order.

    Raises the OSError of the last address: gaierror, ConnectionRefusedError, TimeoutError, ...
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_seconds):
        addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        failure: OSError = socket.gaierror(socket.EAI_NONAME, "no address")
        for family, kind, protocol, _, address in addresses:
            connection = socket.socket(family, kind, protocol)
            try:
                connection.setblocking(False)
                _notice_vanished_peer(connection)
                await loop.sock_connect(connection, address)
            except OSError as error:
                connection.close()
                failure = error
            except BaseException:
                connection.close()
                raise
            else:
                return connection
        raise failure


def _notice_vanished_peer(connection: socket.socket) -> None:
    """A machine that is gone says nothing; the kernel then ends the connection by itself."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", _IDLE_SECONDS),
        ("TCP_KEEPINTVL", _PROBE_SECONDS),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", _UNACKNOWLEDGED_SECONDS * 1000),
    ):
        number = getattr(socket, option, None)  # not every platform has every one
        if number is not None:
            connection.setsockopt(socket.IPPROTO_TCP, number, value)
