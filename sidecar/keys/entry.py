"""One issued key in the ledger: in memory an integer, in the journal a record of 36 bytes.

A million live entries fit in memory because an entry is one `int`, a digest and nothing else.
The key itself is never kept: its version's secret makes it again.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

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


class Entry(NamedTuple):
    """Times are milliseconds since the start of the entry's segment.

    `used_ms` is the first right verify plus one, 0 before that.
    """

    version_id: int
    issued_ms: int
    used_ms: int = 0
    ended: bool = False


_ISSUED_BITS, _USED_BITS = 20, 24
_ISSUED_MASK, _USED_MASK = (1 << _ISSUED_BITS) - 1, (1 << _USED_BITS) - 1
_ENDED_SHIFT = _ISSUED_BITS + _USED_BITS
_VERSION_SHIFT = _ENDED_SHIFT + 1


def pack(entry: Entry) -> int:
    version_id, issued_ms, used_ms, ended = entry
    return (
        version_id << _VERSION_SHIFT | ended << _ENDED_SHIFT | used_ms << _ISSUED_BITS | issued_ms
    )


def unpack(number: int) -> Entry:
    return Entry(
        number >> _VERSION_SHIFT,
        number & _ISSUED_MASK,
        number >> _ISSUED_BITS & _USED_MASK,
        bool(number >> _ENDED_SHIFT & 1),
    )


ISSUED, USED, ENDED = 1, 2, 3

record = struct.Struct(f"<{DIGEST_BYTES}sBIQQ")
"""A change in the journal: digest, ISSUED | USED | ENDED, version id, zone tag, time in ms."""
