"""Child processes of others: found, suspended, killed."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Child:
    pid: int

    def suspend(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def child_running(parent: int, words: str) -> Child:
    """Return the child of `parent` whose command line has these words."""
    for listed in Path(f"/proc/{parent}/task").glob("*/children"):
        for pid in listed.read_text().split():
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            if words in command:
                return Child(int(pid))
    raise AssertionError(f"process {parent} has no child that runs {words}")
