"""Why a component link is down, in words an operator can act on."""

from __future__ import annotations

import enum
import errno
import os
import socket
from dataclasses import dataclass

from sidecar.errors import shorten


class FaultKind(enum.Enum):
    """Stable codes for status and metrics."""

    REFUSED = "connection-refused"
    NAME = "host-name-unknown"
    TIMEOUT = "connect-timeout"
    NETWORK = "network"
    SECRET = "wrong-secret"  # noqa: S105 # a code, no password
    CONFLICT = "conflict"
    HOST_UNKNOWN = "component-unknown"
    NOT_A_COMPONENT_PORT = "not-a-component-port"
    HANDSHAKE = "no-handshake"
    CLOSED = "closed-by-server"
    STREAM_ERROR = "stream-error"
    SILENT = "server-silent"
    NOT_READING = "server-not-reading"


@dataclass(frozen=True, slots=True)
class Fault:
    """One reason for a link to be down: what happened, and what to do about it."""

    kind: FaultKind
    text: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.text}; {self.hint}" if self.hint else self.text


SILENT = Fault(
    FaultKind.SILENT, "the server does not answer any more", "is its process stopped or overloaded?"
)
NOT_READING = Fault(
    FaultKind.NOT_READING, "the server does not read what it is sent", "is its process stopped?"
)
CLOSED = Fault(FaultKind.CLOSED, "the server closed the stream")
NO_HANDSHAKE = Fault(
    FaultKind.HANDSHAKE,
    "the server did not complete the component handshake",
    "is the port its component port (XEP-0114)?",
)
NOT_A_COMPONENT_PORT = Fault(
    FaultKind.NOT_A_COMPONENT_PORT,
    "what answers does not speak the component protocol (XEP-0114)",
    "compare host and port with the component listener of the server's configuration",
)

_NOT_ACCEPTING = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL})


def connect_fault(error: OSError, host: str, port: int) -> Fault:
    """Return why no connection to the server could be made."""
    if isinstance(error, socket.gaierror):
        return Fault(
            FaultKind.NAME,
            f"host {shorten(host)} does not resolve",
            "correct host in the link's configuration",
        )
    if isinstance(error, ConnectionRefusedError):
        return Fault(
            FaultKind.REFUSED,
            f"nothing listens on {host} port {port}",
            "is the server running, and does it listen for components there?",
        )
    if isinstance(error, TimeoutError):
        return Fault(
            FaultKind.TIMEOUT,
            f"no answer from {host} port {port} in time",
            "is the address right, and does a packet filter drop the connection?",
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    hint = "is the address right?" if error.errno in _NOT_ACCEPTING else ""
    return Fault(FaultKind.NETWORK, f"connection to {host} port {port} failed: {reason}", hint)


def stream_fault(condition: str, text: str, jid: str) -> Fault:
    """Return what a stream error of the server (RFC 6120 §4.9.3) means for this link."""
    match condition:
        case "not-authorized":
            return Fault(
                FaultKind.SECRET,
                "the server refused the component secret",
                "compare component_secret in the server's configuration with secret_file",
            )
        case "conflict":
            return Fault(
                FaultKind.CONFLICT,
                f"another component is connected to the server as {jid}",
                "does a second sidecar run with the same jid?",
            )
        case "host-unknown":
            return Fault(
                FaultKind.HOST_UNKNOWN,
                f"the server knows no component {jid}",
                "add the component to the server's configuration, or correct jid or port",
            )
        case "invalid-namespace" | "invalid-xml" | "improper-addressing" | "bad-format":
            return NOT_A_COMPONENT_PORT
        case "system-shutdown":
            return Fault(FaultKind.CLOSED, "the server is shutting down")
    said = f" ({shorten(text)})" if text else ""
    return Fault(FaultKind.STREAM_ERROR, f"the server closed the stream: {condition}{said}")
