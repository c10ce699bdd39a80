"""One issued key in the ledger: in memory an integer, in the journal a record of 36 bytes.

A million live entries fit in memory because an entry is one `int`, a digest and nothing else.
The key itself is never kept: its version's secret makes it again.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from hashlib import blake2b

DIGEST_BYTES = 15
"""With 15 bytes and the header a digest is 48 bytes of memory; 120 bits meet no collision."""


def entry_digest(message: bytes) -> bytes:
    """Return the name of an entry, from the message of `key_message`."""
    return blake2b(message, digest_size=DIGEST_BYTES).digest()


@lru_cache(maxsize=1 << 14)
def zone_tag(target: str) -> int:
    """Return a number for the zone of a target domain: its last two labels."""
    zone = ".".join(target.split(".")[-2:])
    return int.from_bytes(blake2b(zone.encode(), digest_size=8).digest(), "little")


# An entry, from the low bits up: when it was issued, when it was first used plus one (0: never),
# whether its stream was decided, the id of its version. Times are milliseconds since the start
# of its segment.
_ISSUED_BITS, _USED_BITS = 20, 24
_ISSUED_MASK, _USED_MASK = (1 << _ISSUED_BITS) - 1, (1 << _USED_BITS) - 1
_ENDED = 1 << (_ISSUED_BITS + _USED_BITS)
_VERSION_SHIFT = _ISSUED_BITS + _USED_BITS + 1


def fresh(version_id: int, issued_ms: int) -> int:
    """Return the entry of a key that was issued just now."""
    return version_id << _VERSION_SHIFT | issued_ms


def used(entry: int, at_ms: int) -> int:
    """Return the entry after the first right verify of its key."""
    return entry | (at_ms + 1) << _ISSUED_BITS


def ended(entry: int) -> int:
    """Return the entry after its stream was decided."""
    return entry | _ENDED


def version_of(entry: int) -> int:
    return entry >> _VERSION_SHIFT


def issued_of(entry: int) -> int:
    return entry & _ISSUED_MASK


def used_of(entry: int) -> int | None:
    """When the key was first used; None before that."""
    at_ms = entry >> _ISSUED_BITS & _USED_MASK
    return at_ms - 1 if at_ms else None


def is_ended(entry: int) -> bool:
    return bool(entry & _ENDED)


ISSUED, USED, ENDED = 1, 2, 3

record = struct.Struct(f"<{DIGEST_BYTES}sBIQQ")
"""A change in the journal: digest, ISSUED | USED | ENDED, version id, zone tag, time in ms."""
