"""One TCP connection to the first of several addresses that answers (RFC 8305)."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from sidecar.s2s.address_budget import AddressBudget
from sidecar.s2s.failures import Failure, Reason, furthest

_STAGGER_SECONDS = 0.25
_PATIENCE_SECONDS = 1.0  # an address that is silent longer is left alone for a while


async def dial(
    addresses: Sequence[str],
    port: int,
    *,
    allowed: Callable[[str], bool],
    budget: AddressBudget | None = None,
    prefix: str = "",
    stagger_seconds: float = _STAGGER_SECONDS,
) -> socket.socket | Failure:
    """Return a connected socket, or why there is none.

    Addresses that are not `allowed` are never dialled, nor those the `budget` refuses to
    `prefix`. Each further one is tried when those before have failed or `stagger_seconds` have
    passed. The caller sets the deadline.
    """
    permitted = [address for address in addresses if allowed(address)]
    if not permitted:
        return Failure(Reason.ADDRESS_REFUSED, ", ".join(addresses))

    def connect(address: str) -> Coroutine[Any, Any, socket.socket | Failure]:
        return _connect_within_budget(address, port, allowed, budget, prefix)

    if len(permitted) == 1:
        return await connect(permitted[0])
    return await _race(permitted, connect, stagger_seconds)


async def _race(
    addresses: Sequence[str],
    connect: Callable[[str], Coroutine[Any, Any, socket.socket | Failure]],
    stagger_seconds: float,
) -> socket.socket | Failure:
    pending: set[asyncio.Task[socket.socket | Failure]] = set()
    winner: socket.socket | None = None
    failure: Failure | None = None
    left = list(addresses)
    try:
        while winner is None and (left or pending):
            if left:
                pending.add(asyncio.create_task(connect(left.pop(0))))
            done, pending = await asyncio.wait(
                pending,
                timeout=stagger_seconds if left else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                result = task.result()
                if isinstance(result, Failure):
                    failure = furthest(failure, result)
                elif winner is None:
                    winner = result
                else:
                    result.close()
    finally:
        for task in pending:
            task.cancel()
            task.add_done_callback(_discard)
    if winner is not None:
        return winner
    assert failure is not None
    return failure


def place_of(address: Sequence[Any]) -> str:
    """A socket's address as text: `192.0.2.1:5269`, `[2001:db8::1]:5269`."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _discard(task: asyncio.Task[socket.socket | Failure]) -> None:
    """Close what a loser of the race may still have connected."""
    if not task.cancelled() and task.exception() is None:
        result = task.result()
        if isinstance(result, socket.socket):
            result.close()


async def _connect_within_budget(
    address: str,
    port: int,
    allowed: Callable[[str], bool],
    budget: AddressBudget | None,
    prefix: str,
) -> socket.socket | Failure:
    if budget is None:
        return await _connect(address, port, allowed)
    place = (address, port)
    refusal = budget.refusal(place, prefix)
    if refusal is not None:
        return refusal
    loop = asyncio.get_running_loop()
    start = loop.time()
    try:
        result = await _connect(address, port, allowed)
    except asyncio.CancelledError:
        if loop.time() - start >= _PATIENCE_SECONDS:
            budget.remember(place, Failure(Reason.CONNECT_TIMEOUT, place_of(place)))
        raise
    if isinstance(result, Failure):
        budget.remember(place, result)
    return result


async def _connect(
    address: str, port: int, allowed: Callable[[str], bool]
) -> socket.socket | Failure:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    place = place_of((address, port))
    try:
        connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        return Failure(Reason.CONNECT_UNREACHABLE, f"{place}: {_name(error)}")
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await _connected(connection, address, port)
        connected = connection.getpeername()[0]
    except OSError as error:
        connection.close()
        return Failure(_reason(error), f"{place}: {_name(error)}")
    except BaseException:
        connection.close()
        raise
    if not allowed(connected):
        connection.close()
        return Failure(Reason.ADDRESS_REFUSED, f"connected to {connected}")
    return connection


async def _connected(connection: socket.socket, address: str, port: int) -> None:
    """As `sock_connect` of the event loop, which has a thread look addresses up like names."""
    try:
        connection.connect((address, port))
        return
    except BlockingIOError:
        pass
    loop = asyncio.get_running_loop()
    settled: asyncio.Future[None] = loop.create_future()
    loop.add_writer(connection, _settle, settled)
    try:
        await settled
    finally:
        loop.remove_writer(connection)
    error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _reason(error: OSError) -> Reason:
    if error.errno == errno.ECONNREFUSED:
        return Reason.CONNECT_REFUSED
    if error.errno == errno.ETIMEDOUT:
        return Reason.CONNECT_TIMEOUT
    return Reason.CONNECT_UNREACHABLE


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
