"""A child process that never outlives us, and whose output we keep.

The kernel kills it when we die, however that happens (PR_SET_PDEATHSIG); it has a session of
its own, so that Ctrl-C in the terminal reaches us and not it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, cast

from sidecar.lab.addresses import listens
from sidecar.lab.faults import LabError
from sidecar.lab.output import Output

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def die_with_parent() -> Callable[[], None]:
    """Return what a child runs before exec, so that it is killed when this process ends."""
    parent = os.getpid()

    def set_death_signal() -> None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # we died before prctl
            os._exit(1)

    return set_death_signal


class Process:
    """One program; started, stopped, killed and started again with the same arguments."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        directory: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.argv = [str(part) for part in argv]
        self.directory = directory
        self.environment = dict(os.environ) | dict(environment or {})
        self.output = Output(name)
        self._transport: asyncio.SubprocessTransport | None = None
        self._ended: asyncio.Future[int] | None = None
        self._drained: asyncio.Future[None] | None = None

    @property
    def pid(self) -> int:
        """The process id; raises LabError when it does not run."""
        if self._transport is None or not self.running:
            raise LabError(f"{self.name} is not running")
        return self._transport.get_pid()

    @property
    def running(self) -> bool:
        return self._ended is not None and not self._ended.done()

    async def start(self) -> Self:
        if self.running:
            raise LabError(f"{self.name} is running already")
        loop = asyncio.get_running_loop()
        self._ended = ended = loop.create_future()
        self._drained = drained = loop.create_future()
        self.output.reopen()
        try:
            self._transport, _ = await loop.subprocess_exec(
                lambda: _Capture(self.output, ended, drained),
                *self.argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd=self.directory,
                env=self.environment,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
        except BaseException:
            self._ended = None
            raise
        return self

    def write(self, data: bytes) -> None:
        """Write to the process's standard input."""
        pipe = self._transport.get_pipe_transport(0) if self._transport else None
        if not self.running or pipe is None:
            raise LabError(f"{self.name} is not running")
        cast(asyncio.WriteTransport, pipe).write(data)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    async def wait(self) -> int:
        """Return the exit status (negative: killed by that signal), all its output in `output`."""
        if self._ended is None:
            raise LabError(f"{self.name} was never started")
        status = await asyncio.shield(self._ended)
        await self._drain()
        return status

    async def wait_listening(self, address: str, *ports: int, timeout_seconds: float = 30) -> None:
        """Return once something listens on all `ports`; LabError when the process ends instead."""
        deadline = time.monotonic() + timeout_seconds
        while not all(listens(address, port) for port in ports):
            if not self.running:
                await self._drain()
                raise LabError(f"{self.name} did not start:\n{self.output.text()}")
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} does not listen after {timeout_seconds:g} s")
            await asyncio.sleep(0.01)

    async def stop(self, grace_seconds: float = 10) -> None:
        """End it with SIGTERM, and with SIGKILL what does not listen. Fine when it has ended."""
        if self.running:
            self.signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(grace_seconds):
                    await self.wait()
            except TimeoutError:
                await self.kill()
        await self._close()

    async def kill(self) -> None:
        """End it and everything in its session with SIGKILL."""
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
            await self.wait()
        await self._close()

    async def _drain(self) -> None:
        """Read what is still in the pipe; not for long, a grandchild may be holding it open."""
        if self._drained is not None:
            await asyncio.wait([self._drained], timeout=1)

    async def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None
            await self._drain()


class _Capture(asyncio.SubprocessProtocol):
    def __init__(
        self, output: Output, ended: asyncio.Future[int], drained: asyncio.Future[None]
    ) -> None:
        self._output = output
        self._ended = ended
        self._drained = drained

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        self._output.feed(cast(bytes, data))

    def process_exited(self) -> None:
        status = self._transport.get_returncode()
        assert status is not None
        if not self._ended.done():
            self._ended.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended and its pipes are at their end."""
        self._output.close(f"exit status {self._transport.get_returncode()}")
        if not self._drained.done():
            self._drained.set_result(None)


async def run(
    argv: Sequence[str | Path],
    *,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float = 60,
) -> str:
    """Run a program to its end and return what it printed; LabError unless its status is 0."""
    name = Path(argv[0]).name
    process = await Process(name, argv, directory=directory, environment=environment).start()
    try:
        async with asyncio.timeout(timeout_seconds):
            status = await process.wait()
    except TimeoutError as error:
        raise LabError(f"{name} did not end within {timeout_seconds:g} s") from error
    finally:
        await process.kill()
    if status != 0:
        raise LabError(f"{name} failed with exit status {status}:\n{process.output.text()}")
    return process.output.text()
