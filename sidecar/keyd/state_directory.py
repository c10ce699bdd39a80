"""The directory that holds secrets and ledger: ours alone, and one keyd's at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from sidecar.errors import SidecarError


class StateDirectoryError(SidecarError):
    """The state directory cannot be used; the text says why and what to do."""


class StateDirectory:
    """A locked state directory. The lock ends with the process, however it ends."""

    def __init__(self, path: Path) -> None:
        """Create it with mode 0700 where it is missing. Raises StateDirectoryError."""
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = path.stat()
            if status.st_uid != os.geteuid():
                raise StateDirectoryError(
                    f"{path}: expected uid {os.geteuid()} as its owner, got {status.st_uid}"
                )
            if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise StateDirectoryError(
                    f"{path}: others can write to it; expected mode 0700, got "
                    f"{stat.S_IMODE(status.st_mode):04o}"
                )
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateDirectoryError(f"{path}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise StateDirectoryError(f"{path}: another dialback-keyd is using it") from error

    @property
    def secrets(self) -> Path:
        return self.path / "secrets.sqlite3"

    @property
    def ledger(self) -> Path:
        return self.path / "ledger"

    @property
    def ballast(self) -> Path:
        return self.path / "ballast"

    def close(self) -> None:
        os.close(self._lock)
