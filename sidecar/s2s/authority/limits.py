"""What a peer of the authority listener may cost us, beside the limits of its stream."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds until a connection that makes no progress is ended."""

    negotiating: float = 15.0
    """from the connection to the stream's header, and for each TLS handshake"""
    element: float = 20.0
    """from the first byte of an element to its last"""
    idle: float = 900.0
    """between elements; white space that keeps the connection alive counts"""
    reading: float = 30.0
    """for the peer to read what we wrote"""
    leaving: float = 2.0
    """for the peer to end the connection after the stream's end"""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Per connection: requests and checks that wait for their answer, bytes that wait for the
    peer to read them, bytes read in one turn of the event loop."""

    pending_requests: int = 512
    pending_checks: int = 8
    unread_bytes: int = 65_536
    read_bytes: int = 16_384


@dataclass(frozen=True, slots=True)
class Price:
    """What is charged to the network of a peer, in requests."""

    connection: float = 4.0
    tls_handshake: float = 20.0
    check: float = 10.0
    read: float = 0.25
    """a read that brings no request"""
    byte: float = 1 / 1024
    tls_byte: float = 1 / 64
    """besides, of what TLS keeps to itself: new keys cost more time than requests of that size"""
