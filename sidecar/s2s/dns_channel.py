"""Questions to nameservers by c-ares, driven by the event loop. The one user of pycares.

Left to itself c-ares reads in a thread of its own: each question then wakes that thread and it
wakes the event loop, and both want the interpreter's lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import pycares

from sidecar.s2s.watched_files import WatchedFiles

Told = Callable[[Any, int | None], None]
"""Gets what c-ares has found, or None and its error code."""

_TRY_SECONDS = 1.5
# c-ares waits as little as 0.25 s at first, then up to double at each try; it drops late answers
_TRIES = 6
_TICK_SECONDS = 0.1
_LOOK_SECONDS = 5.0
_MAX_REMEMBERED = 4096
_NOBODY = "192.0.2.1"  # RFC 5737; never asked
_RESOLV_CONF = Path("/etc/resolv.conf")
_NO_SOCKET: int = pycares.ARES_SOCKET_BAD


class SystemNameservers:
    """Those of `/etc/resolv.conf`, as c-ares reads it when it starts."""

    def __init__(self, path: Path = _RESOLV_CONF) -> None:
        self._watched = WatchedFiles(path)

    def changed(self) -> list[str] | None:
        """All of them, if the file is not as it was when this was last asked."""
        return self.read() if self._watched.changed() else None

    def read(self) -> list[str]:
        """What a channel would ask that is made now."""
        return pycares.Channel(sock_state_cb=lambda *_: None).servers


class DnsChannel:
    """Asks `nameservers` (`ip`, `ip:port`, `[ipv6]:port`); none: those of the system.

    Build it inside a running event loop. c-ares ends each question in time: it asks again, another
    nameserver too, and over TCP where an answer was cut short. Within seconds of a change of the
    system's nameservers the new ones are asked. `clock` in seconds.
    """

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        *,
        system: SystemNameservers | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._watched: dict[int, tuple[bool, bool]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._system = None if nameservers else system or SystemNameservers()
        self._clock = clock
        self._closed = False
        self._look_at = clock() + _LOOK_SECONDS
        self._remembered = 0
        self._channel = pycares.Channel(
            sock_state_cb=self._watch, timeout=_TRY_SECONDS, tries=_TRIES, servers=nameservers
        )

    def ask(self, name: str, record_type: int, told: Told) -> None:
        """Ask for the records of a type, its number in DNS. `told` is called at least once, maybe
        before this returns."""
        if self._closed:
            told(None, pycares.errno.ARES_ECANCELLED)
            return
        if self._system is not None and self._clock() >= self._look_at:
            self._follow(self._system)
        self._remembered += 1
        if self._remembered > _MAX_REMEMBERED:
            self._forget()
        try:
            self._channel.query(name, record_type, callback=told)
        except pycares.AresError as error:  # a name that cannot be
            told(None, error.args[0])

    def close(self) -> None:
        """Let go of all sockets. Questions under way, and all later ones, are told that they were
        cancelled. A second time does nothing."""
        if self._closed:
            return
        self._closed = True
        self._channel.cancel()
        for fd in list(self._watched):
            self._watch(fd, False, False)
        if self._timer is not None:
            self._timer.cancel()
        self._channel.close()

    def _forget(self) -> None:
        """Have c-ares forget its answers, which it counts nowhere, as it does when nameservers
        change. Our own cache is bounded. Questions under way go on."""
        self._remembered = 0
        servers = self._channel.servers
        self._channel.servers = [*servers, _NOBODY]
        self._channel.servers = servers

    def _follow(self, system: SystemNameservers) -> None:
        """Ask the nameservers that the system has now."""
        self._look_at = self._clock() + _LOOK_SECONDS
        changed = system.changed()
        if changed is not None:
            self._channel.servers = changed

    def _watch(self, fd: int, readable: bool, writable: bool) -> None:
        """Have the event loop look at a socket of c-ares, or no longer."""
        was_readable, was_writable = self._watched.pop(fd, (False, False))
        if readable and not was_readable:
            self._loop.add_reader(fd, self._process, fd, _NO_SOCKET)
        elif was_readable and not readable:
            self._loop.remove_reader(fd)
        if writable and not was_writable:
            self._loop.add_writer(fd, self._process, _NO_SOCKET, fd)
        elif was_writable and not writable:
            self._loop.remove_writer(fd)
        if readable or writable:
            self._watched[fd] = (readable, writable)
            if self._timer is None:
                self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)

    def _process(self, read_fd: int, write_fd: int) -> None:
        self._channel.process_fd(read_fd, write_fd)

    def _tick(self) -> None:
        """Let c-ares see what has taken too long, as long as it waits for anything."""
        self._timer = None
        if self._watched:
            self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)
            self._process(_NO_SOCKET, _NO_SOCKET)


def error_text(code: int) -> str:
    """What c-ares says to one of its error codes."""
    return str(pycares.errno.strerror(code))
