"""One question to the admin socket of dialback-keyd, for commands on this machine."""

from __future__ import annotations

import socket
from pathlib import Path

from sidecar.errors import KeyServiceUnavailable
from sidecar.keys.framing import BadFrame, FrameReader, decode_replies, encode_frame
from sidecar.keys.messages import AdminRequest, DryRun, Failed, Reply

_TIMEOUT_SECONDS = 30.0
_FAULTS = {
    "store-failed": "the key service cannot write to its disk, and this is not done (what was "
    "revoked proves nothing from now on all the same); its log says why: make room, or see to "
    "the disk, then type this again",
    "journal-failed": "the key service cannot write its ledger; its log says why: make room, or "
    "see to the disk",
}
_ENDED = "the key service ended the connection; see its log"


def ask(path: Path, request: AdminRequest | DryRun) -> Reply:
    """Return keyd's reply. Raises KeyServiceUnavailable, with words for an operator."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT_SECONDS)
            connection.connect(str(path))
            connection.sendall(encode_frame([(0, request)]))
            reply = _receive(connection)
    except (OSError, BadFrame) as error:
        raise KeyServiceUnavailable(f"{path}: {_in_words(error)}") from error
    if reply is None:
        raise KeyServiceUnavailable(f"{path}: {_ENDED}")
    if isinstance(reply, Failed):
        raise KeyServiceUnavailable(f"{path}: {_FAULTS.get(reply.reason, reply.reason)}")
    return reply


def _receive(connection: socket.socket) -> Reply | None:
    reader = FrameReader()
    while data := connection.recv(65536):
        for payload in reader.feed(data):
            ((_, reply),) = decode_replies(payload)
            return reply
    return None


def _in_words(error: OSError | BadFrame) -> str:
    match error:
        case FileNotFoundError():
            return "there is no such socket; is dialback-keyd running, and with this one?"
        case ConnectionRefusedError():
            return "nobody listens there; is dialback-keyd running?"
        case PermissionError():
            return "permission denied; type this as root or as the user of dialback-keyd"
        case TimeoutError():
            return f"no answer within {_TIMEOUT_SECONDS:.0f} s; see the log of dialback-keyd"
        case BrokenPipeError() | ConnectionResetError():
            return _ENDED
        case OSError():
            return error.strerror or str(error)
        case _:
            return f"what answers is no key service: {error}"
