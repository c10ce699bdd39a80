"""Room kept on the disk for the one change that must never be refused: revoking a secret."""

from __future__ import annotations

import os
from pathlib import Path

_BYTES = 256 * 1024


class Ballast:
    """A file of real blocks. Dropped when the disk is full, taken on again when it is not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.take_on()

    def take_on(self) -> None:
        """Fill the file where it is missing; on a full disk, do without it for now."""
        if self._path.exists():
            return
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, _BYTES)
            finally:
                os.close(descriptor)
        except OSError:
            self._path.unlink(missing_ok=True)

    def drop(self) -> bool:
        """Give the room back; return whether there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
