"""The Unix sockets of keyd: who can connect, and who the kernel says did."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

from sidecar.errors import SidecarError

_MAX_PATH_BYTES = 107
_FIRST_INHERITED = 3
_CREDENTIALS = struct.Struct("=iII")


class SocketInUse(SidecarError):
    """The socket's path cannot be taken."""


def listen(path: Path, group: int | None = None) -> socket.socket:
    """Return a listening socket of mode 0600, or 0660 for a group. A dead one is replaced.

    Raises SocketInUse, OSError.
    """
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise SocketInUse(f"{path}: expected at most {_MAX_PATH_BYTES} bytes for a socket's path")
    if path.exists():
        if not path.is_socket():
            raise SocketInUse(f"{path}: exists and is no socket")
        if _is_answered(path):
            raise SocketInUse(f"{path}: another process is listening there")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    previous = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
        if group is not None:
            os.chown(path, -1, group)
            path.chmod(0o660)
        listener.listen(64)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(previous)
    listener.setblocking(False)
    return listener


def inherited_listener() -> socket.socket | None:
    """Return the listening socket that systemd made for us, if it did (sd_listen_fds(3)).

    So a socket of mode 0600 can belong to the user of dialback-sidecar and not to ours.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    listener = socket.socket(fileno=_FIRST_INHERITED)
    listener.setblocking(False)
    return listener


def peer_uid(connection: socket.socket) -> int:
    """Return the uid of the process that connected, as the kernel noted it."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(data)
    return int(uid)


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return False
        return True
