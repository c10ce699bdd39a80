"""Entity tags: what a configuration resource is now, and what it must be for a change of it.

Whoever stores the resource asks `Precondition.holds` in the transaction that changes it: of two
writers that saw the same thing one wins, and the other one learns that it changed (RFC 9110 §13).
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

ANY_TAG = "*"
_TAG_BYTES = 8


class Precondition(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Entity tags without their quotes, or `*` for any; None asks for nothing.

    `match`: the resource exists and has one of these tags (`If-Match`). `none_match`: it does not
    exist, or has none of these (`If-None-Match`; with `*` it must not exist).
    """

    match: tuple[str, ...] | None = None
    none_match: tuple[str, ...] | None = None

    def holds(self, tag: str | None) -> bool:
        """Whether it does for a resource with this entity tag; None where there is none."""
        if self.match is not None and not _is_among(tag, self.match):
            return False
        return self.none_match is None or not _is_among(tag, self.none_match)


NO_PRECONDITION = Precondition()


def entity_tag(content: object) -> str:
    """Return the entity tag of a content that msgspec can encode, the same in every process."""
    return blake2b(msgspec.msgpack.encode(content), digest_size=_TAG_BYTES).hexdigest()


def _is_among(tag: str | None, tags: tuple[str, ...]) -> bool:
    return tag is not None and (tag in tags or ANY_TAG in tags)
