"""Dialling over real sockets on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sidecar.lab.addresses import free_ports, fresh_address
from sidecar.s2s.dial import dial
from sidecar.s2s.failures import Failure, Reason


@contextmanager
def listening(address: str, port: int, *, backlog: int = 5) -> Iterator[socket.socket]:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(backlog)
        yield server


@contextmanager
def full(address: str, port: int) -> Iterator[None]:
    """A server whose queue is full: connecting to it takes forever."""
    with listening(address, port, backlog=0):
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex((address, port))
        yield
        for filler in fillers:
            filler.close()


def anything(_: str) -> bool:
    return True


@pytest.fixture
def places() -> tuple[list[str], int]:
    """Three addresses and a port that is free on all of them."""
    addresses = [fresh_address() for _ in range(3)]
    return addresses, free_ports(addresses[0])[0]


async def test_connection_to_the_only_address(places):
    (address, *_), port = places
    with listening(address, port):
        connected = await dial([address], port, allowed=anything)
        assert connected.getpeername() == (address, port)
        assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        connected.close()


async def test_next_address_is_dialled_when_one_refuses(places):
    addresses, port = places
    with listening(addresses[2], port):
        connected = await dial(addresses, port, allowed=anything)
        assert connected.getpeername()[0] == addresses[2]
        connected.close()


async def test_next_address_is_dialled_when_one_takes_long(places):
    addresses, port = places
    with full(addresses[0], port), listening(addresses[1], port):
        connected = await dial(addresses[:2], port, allowed=anything, stagger_seconds=0.01)
        assert connected.getpeername()[0] == addresses[1]
        connected.close()


async def test_refused_everywhere(places):
    addresses, port = places
    result = await dial(addresses, port, allowed=anything)
    assert isinstance(result, Failure)
    assert result.reason is Reason.CONNECT_REFUSED


async def test_address_without_a_route():
    result = await dial(["2001:db8::1"], 5269, allowed=anything)
    assert isinstance(result, Failure)
    assert result.reason is Reason.CONNECT_UNREACHABLE


async def test_address_that_is_not_allowed_is_never_dialled(places):
    addresses, port = places
    with listening(addresses[0], port) as server:
        result = await dial(addresses[:1], port, allowed=lambda _: False)
        assert isinstance(result, Failure)
        assert result.reason is Reason.ADDRESS_REFUSED
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


async def test_policy_is_asked_again_about_the_connected_address(places):
    (address, *_), port = places
    asked: list[str] = []

    def first_yes_then_no(candidate: str) -> bool:
        asked.append(candidate)
        return len(asked) == 1

    with listening(address, port):
        result = await dial([address], port, allowed=first_yes_then_no)
    assert asked == [address, address]
    assert isinstance(result, Failure)
    assert result.reason is Reason.ADDRESS_REFUSED


async def test_cancelled_race_leaves_no_task_behind(places):
    addresses, port = places
    with full(addresses[0], port), full(addresses[1], port):
        race = asyncio.create_task(
            dial(addresses[:2], port, allowed=anything, stagger_seconds=0.01)
        )
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(race, 0.1)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
