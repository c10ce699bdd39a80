"""The daemon's state directory: made where it is missing, and one daemon's at a time.

A second daemon with the same one would take over the first one's links and its key service.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sidecar.errors import SidecarError


class StateDirectoryUnusable(SidecarError):
    """The state directory cannot be used; the text says which and why."""


@contextmanager
def held_state_directory(path: Path) -> Iterator[None]:
    """Hold `path`, of mode 0700 when it is made here. Raises StateDirectoryUnusable.

    The lock ends with the process, however it ends.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / "sidecar.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise StateDirectoryUnusable(f"state_directory {path}: is not a directory") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StateDirectoryUnusable(
            f"state_directory {path}: {reason}; it has to belong to uid {os.geteuid()}"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StateDirectoryUnusable(
            f"state_directory {path}: another dialback-sidecar is using it"
        ) from None
    try:
        yield
    finally:
        os.close(lock)
