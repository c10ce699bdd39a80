"""Which peers a rule is about."""

from __future__ import annotations

from sidecar.errors import InvalidValue, shorten
from sidecar.names import Domain

EVERY_PEER = "*"
_BELOW = "*."


class PeerPattern(str):
    """`example.net`, `*.example.net` (all below it, not itself) or `*` (every peer), canonical.

    Build it with `PeerPattern.parse` only.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str, field: str = "domain") -> PeerPattern:
        """Return the canonical form, with U-labels. Raises InvalidValue, naming `field`."""
        if text == EVERY_PEER:
            return cls(text)
        below, name = (_BELOW, text[2:]) if text.startswith(_BELOW) else ("", text)
        try:
            return cls(below + Domain.parse(name))
        except InvalidValue:
            raise InvalidValue(
                field, f"expected a domain, *.DOMAIN or *, got {shorten(text)}"
            ) from None


def patterns_of(domain: Domain) -> list[str]:
    """Every pattern that covers `domain`, the most specific first."""
    patterns = [str(domain)]
    rest = str(domain)
    while rest:
        _, _, rest = rest.partition(".")
        patterns.append(_BELOW + rest if rest else EVERY_PEER)
    return patterns
