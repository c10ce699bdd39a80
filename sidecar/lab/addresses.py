"""Loopback addresses and ports nobody else uses.

Linux answers on all of 127.0.0.0/8, so each server can have an address of its own. They are
drawn at random from 127.64.0.0/10, away from 127.0.0.1 and the low addresses people use.
"""

from __future__ import annotations

import errno
import random
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sidecar.lab.faults import PortInUse

_TCP_LISTEN = "0A"  # proc_pid_net(5)
_draw = random.SystemRandom()
_given: set[str] = set()


def fresh_address() -> str:
    """Return a loopback address that this process has not given out before."""
    while True:
        address = f"127.{_draw.randint(64, 127)}.{_draw.randint(0, 255)}.{_draw.randint(2, 254)}"
        if address not in _given:
            _given.add(address)
            return address


def free_ports(address: str, count: int = 1) -> tuple[int, ...]:
    """Return `count` different ports that are free on `address`, TCP and UDP."""
    ports: list[int] = []
    while len(ports) < count:
        port = _draw.randint(20000, 32000)  # below the range the kernel gives to clients
        if port not in ports and is_free(address, port):
            ports.append(port)
    return tuple(ports)


def is_free(address: str, port: int) -> bool:
    """Say whether a server could listen on `address`:`port` now."""
    try:
        with _bound(address, port, socket.SOCK_STREAM), _bound(address, port, socket.SOCK_DGRAM):
            return True
    except PortInUse:
        return False


def require_free(address: str, *ports: int) -> None:
    """Raise PortInUse for the first of `ports` that something listens on already."""
    for port in ports:
        with _bound(address, port, socket.SOCK_STREAM):
            pass


def listens(address: str, port: int) -> bool:
    """Say whether a server listens on exactly `address`:`port` (IPv4, TCP), without asking it."""
    number = int.from_bytes(socket.inet_aton(address), sys.byteorder)
    wanted = f"{number:08X}:{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        if local == wanted and state == _TCP_LISTEN:
            return True
    return False


@contextmanager
def _bound(address: str, port: int, kind: socket.SocketKind) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, kind) as sock:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(address, port) from error
            raise
        yield sock
