"""Room kept on the disk for what must not be refused: revoking a secret, and starting."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

_Result = TypeVar("_Result")

_BYTES = 256 * 1024
_LEAST_BYTES = 16 * 1024


class Ballast:
    """A file of real blocks. Dropped when the disk is full, taken on again when it is not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.take_on()

    def take_on(self) -> None:
        """Fill the file up; on a full disk with as much as there is room for."""
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                size_bytes = _BYTES
                while os.fstat(descriptor).st_size < size_bytes >= _LEAST_BYTES:
                    with suppress(OSError):
                        os.posix_fallocate(descriptor, 0, size_bytes)
                    size_bytes //= 2
            finally:
                os.close(descriptor)

    def make_room_for(self, step: Callable[[], _Result]) -> _Result:
        """Do `step`; if it fails, drop the ballast and do it once more.

        `step` is a transaction: where it raises it has changed nothing.
        """
        try:
            return step()
        except (sqlite3.Error, OSError):
            if not self._path.exists():
                raise
            self._path.unlink()
            try:
                return step()
            finally:
                self.take_on()
