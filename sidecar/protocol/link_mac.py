"""The MAC of the component link: who holds the component secret, and what was asked.

Canonical form and keys exactly as docs/link-protocol.md, "The MAC". Elements are
`xml.etree.ElementTree.Element`, as the stream's parser builds them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from xml.etree.ElementTree import Element

_LABEL = b"urn:dialback-sidecar:1 link key"
_BLOCK_BYTES = 64
_NOT_COUNTED = frozenset({"mac", "xmlns"})


class LinkKey:
    """The key both ends of one link derive from its component secret; never shown."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        # the two hashes of HMAC (RFC 2104 §2, §4) with the key taken in: what OpenSSL does anew for
        # each MAC that is asked of it takes thrice as long
        block = hmac.digest(secret, _LABEL, "sha256").ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def __repr__(self) -> str:
        return "<link key>"

    def mac(self, canonical: str) -> str:
        """Return the MAC of a canonical request or reply, 64 lower-case hex digits."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(canonical.encode())
        outer.update(inner.digest())
        return outer.hexdigest()


def canonical_request(iq: Element, payload: Element) -> str:
    """Return what the MAC of a request covers: id, addresses and type of `iq`, and `payload`."""
    get = iq.get
    head = (get("id", ""), get("from", ""), get("to", ""), get("type", ""))
    return f"7:request{''.join(map(_field, head))}{canonical_element(payload)}"


def canonical_reply(request_mac: str, payload: str) -> str:
    """Return what the MAC of a reply covers; `payload` is an element in canonical form."""
    return f"5:reply{_field(request_mac)}{payload}"


def canonical_parts(name: str, text: str, attributes: Sequence[tuple[str, str]]) -> str:
    """Return the canonical form of an element without children."""
    return _canonical(name, text, sorted(attributes), "1:0")


def canonical_element(element: Element) -> str:
    """Return the canonical form of `element` and all below it."""
    tag = element.tag
    counted = [
        item for item in element.attrib.items() if item[0] not in _NOT_COUNTED and item[0][0] != "{"
    ]
    counted.sort()
    text = element.text or ""
    below = "1:0"
    if len(element):
        text += "".join([child.tail or "" for child in element])
        children = "".join([canonical_element(child) for child in element])
        below = f"{_field(str(len(element)))}{children}"
    return _canonical(tag[tag.rfind("}") + 1 :], text, counted, below)


def _canonical(name: str, text: str, attributes: Sequence[tuple[str, str]], below: str) -> str:
    count = str(len(attributes))
    fields = "".join([f"{len(key)}:{key}{len(value)}:{value}" for key, value in attributes])
    own = f"{len(name)}:{name}{len(text)}:{text}{len(count)}:{count}{fields}"
    if not own.isascii():  # then bytes are not characters
        fields = "".join([_field(key) + _field(value) for key, value in attributes])
        own = f"{_field(name)}{_field(text)}{_field(count)}{fields}"
    return own + below


def same_mac(computed: str, received: str | None) -> bool:
    """Compare in constant time; a MAC that is missing or not ASCII never fits."""
    return received is not None and received.isascii() and hmac.compare_digest(computed, received)


def _field(text: str) -> str:
    length = len(text) if text.isascii() else len(text.encode())
    return f"{length}:{text}"
