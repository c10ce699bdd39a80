"""The file of the key-encryption keys: one in hex on each line, the first seals.

More than one line means that a rotation is under way, or was when we were killed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from sidecar.errors import SidecarError
from sidecar.keyd.sealing import KEK_BYTES

CREDENTIAL = "dialback-kek"


class KekError(SidecarError):
    """The KEK file cannot be used; the text says why, and never what is in it."""


def find(option: Path | None, state_directory: Path) -> tuple[Path, bool]:
    """Return the path of the KEK file and whether we may write to it.

    The option, else the systemd credential `dialback-kek`, else `kek` in the state directory.
    """
    if option is not None:
        return option, os.access(option.parent, os.W_OK)
    credentials = _credentials()
    if credentials is not None and (credentials / CREDENTIAL).exists():
        return credentials / CREDENTIAL, False
    return state_directory / "kek", True


def read(path: Path) -> tuple[bytes, ...]:
    """Return the KEKs. Raises KekError; FileNotFoundError when there is no file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        # A systemd credential belongs to root; its ACL for our user shows as group bits.
        from_systemd = path.parent == _credentials() and status.st_uid == 0
        forbidden = stat.S_IRWXO | (stat.S_IWGRP if from_systemd else stat.S_IRWXG)
        if status.st_mode & forbidden:
            raise KekError(
                f"{path}: others can read it; expected mode 0600 or 0400, got "
                f"{stat.S_IMODE(status.st_mode):04o}"
            )
        if status.st_uid not in (0, os.geteuid()):
            raise KekError(f"{path}: expected uid {os.geteuid()} as its owner, got {status.st_uid}")
        lines = file.read(4096).decode("ascii", "replace").split()
    keks = []
    for number, line in enumerate(lines, start=1):
        try:
            kek = bytes.fromhex(line)
        except ValueError:
            kek = b""
        if len(kek) != KEK_BYTES:
            raise KekError(f"{path}: line {number}: expected {2 * KEK_BYTES} hex digits")
        keks.append(kek)
    if not keks:
        raise KekError(f"{path}: expected a key-encryption key, got an empty file")
    return tuple(keks)


def _credentials() -> Path | None:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(directory) if directory else None


def generate() -> bytes:
    return os.urandom(KEK_BYTES)


def write(path: Path, keks: Sequence[bytes]) -> None:
    """Replace the file in one step, synchronised. Raises OSError."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("".join(f"{kek.hex()}\n" for kek in keks))
        file.flush()
        os.fsync(descriptor)
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
