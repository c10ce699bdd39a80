"""The dialback key of XEP-0185 §2: one HMAC over target domain, sender domain and stream ID."""

from __future__ import annotations

import hashlib

SECRET_BYTES = 32
"""Secrets that we generate have 256 bits (XEP-0185 §4 asks for 128 at least)."""

_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))


def key_message(sender: str, target: str, stream: str) -> bytes:
    """Return what is hashed: target, sender and stream ID with one space between them.

    Neither domains nor stream IDs hold a space, so no two triples share a message.
    """
    return f"{target} {sender} {stream}".encode()


class KeyMaker:
    """Makes the keys of one secret: `hex(HMAC-SHA256(hex(SHA-256(secret)), message))`.

    The HMAC's key, 64 hex digits, is exactly one block of SHA-256. Both padded blocks are
    hashed once, here; a key then costs two copies and two blocks (RFC 2104 §4).
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        block = hashlib.sha256(secret).hexdigest().encode()
        self._inner = hashlib.sha256(block.translate(_INNER_PAD))
        self._outer = hashlib.sha256(block.translate(_OUTER_PAD))

    def key(self, message: bytes) -> str:
        """Return the key, 64 lower-case hex digits, for a message of `key_message`."""
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()

    def __repr__(self) -> str:
        return "<key maker>"
