"""dialback-keyd as a child of the sidecar: started, restarted, and never left behind.

Same user, same state directory: this is for one command to work, it isolates nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 10.0
_STEADY_SECONDS = 30.0
_STOP_SECONDS = 10.0


class KeydChild:
    """A supervised dialback-keyd. It holds a pipe of ours as its standard input and stops when
    that closes, which the kernel does for us even when we are killed."""

    def __init__(
        self,
        state_directory: Path,
        *,
        options: Sequence[str] = (),
        log_level: str = "info",
        log_format: str = "human",
    ) -> None:
        """`options` are more of its command line."""
        self.socket = state_directory / "keyd.sock"
        self._command = (
            *(sys.executable, "-m", "sidecar.keyd"),
            *("--state-directory", str(state_directory / "keyd")),
            *("--socket", str(self.socket)),
            *("--log-level", log_level),
            *("--log-format", log_format),
            *options,
            "--until-stdin-ends",
            "--allow-root",  # if we are root, so is our child
        )
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it and keep it running. Raises OSError when it cannot be started at all."""
        await self._spawn()
        self._supervisor = asyncio.create_task(self._supervise(), name="keyd child")

    async def close(self) -> None:
        """Let it stop cleanly and wait for that."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            log.error("dialback-keyd does not stop: killed")
            process.kill()
            await process.wait()

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us; it stops when we close its input
        )

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        pause_seconds = _FIRST_PAUSE_SECONDS
        started = loop.time()
        while True:
            if self._process is not None:
                status = await self._process.wait()
                log.error("dialback-keyd ended with status %d; starting it again", status)
                if loop.time() - started > _STEADY_SECONDS:
                    pause_seconds = _FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
            started = loop.time()
            try:
                await self._spawn()
            except OSError as error:
                log.error("dialback-keyd cannot be started: %s", error)
                self._process = None
