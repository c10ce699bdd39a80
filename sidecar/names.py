"""Domain, DomainPair, StreamId, DialbackKey: checked once, at the edge.

A `Domain` has one canonical form: the nameprepped U-label form that servers put on the
wire and that XEP-0185 hashes. DNS and certificates get `Domain.a_label`.
"""

from __future__ import annotations

import re
import unicodedata
from encodings.idna import ToASCII, ToUnicode, nameprep
from functools import lru_cache
from hmac import compare_digest
from typing import NamedTuple, Self

from sidecar.errors import InvalidValue, shorten

_XML_WHITE_SPACE = " \t\r\n"
_ASCII_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\Z")
_VISIBLE = re.compile(r"[\x21-\x7e]{1,256}\Z")
_MAX_LABEL_BYTES = 63
_MAX_NAME_BYTES = 253


class Domain(str):
    """A domain name in canonical form. Build it with `Domain.parse` only."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str, field: str = "domain") -> Domain:
        """Return the canonical form of `text`.

        Raises InvalidValue, naming `field`, for what cannot be a domain name
        (RFC 7622 §3.2, RFC 3491): empty or too long labels, ports, paths, spaces.
        """
        try:
            return _canonical(text)
        except UnicodeError as error:
            raise InvalidValue(field, f"expected a domain name, got {shorten(text)}") from error

    @property
    def a_label(self) -> str:
        """The ASCII form for DNS and certificates (IDNA2003, RFC 3490)."""
        return _a_label(self)

    @property
    def is_single_label(self) -> bool:
        return "." not in self


@lru_cache(maxsize=4096)
def _canonical(text: str) -> Domain:
    if not text or len(text) > _MAX_NAME_BYTES * 4:
        raise UnicodeError("empty or too long")
    labels = [_canonical_label(label) for label in text.split(".")]
    name = ".".join(labels)
    if len(_a_label(name)) > _MAX_NAME_BYTES:
        raise UnicodeError("too long")
    return Domain(name)


def _canonical_label(label: str) -> str:
    """Nameprep one label; an A-label becomes its U-label only where that round-trips."""
    # All that nameprep does to ASCII is to fold case; the codec takes 50 µs for it.
    prepared = label.lower() if label.isascii() else nameprep(label)
    if not prepared or "." in prepared:
        raise UnicodeError("empty label")
    if prepared.startswith("xn--"):
        unicode_form = _round_trip(prepared)
        if unicode_form is not None:
            return unicode_form
    if prepared.isascii():
        if len(prepared) > _MAX_LABEL_BYTES or not _ASCII_LABEL.match(prepared):
            raise UnicodeError("not a host name label")
    elif not all(c.isalnum() or c == "-" or _is_mark(c) for c in prepared):
        raise UnicodeError("not a host name label")
    return prepared


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _round_trip(a_label: str) -> str | None:
    try:
        unicode_form = ToUnicode(a_label)
        if unicode_form != a_label and ToASCII(unicode_form).decode() == a_label:
            return nameprep(unicode_form)
    except UnicodeError:
        pass
    return None


@lru_cache(maxsize=4096)
def _a_label(name: str) -> str:
    if name.isascii():
        return name
    return ".".join(ToASCII(label).decode() for label in name.split("."))


class DomainPair(NamedTuple):
    """Sender and target domain of XEP-0220 §1.2; write it with keywords, always."""

    sender: Domain
    target: Domain

    def __str__(self) -> str:
        return f"{self.sender} -> {self.target}"


class StreamId(str):
    """The id of the response stream header the Receiving Server sent: opaque, byte-exact."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str, field: str = "stream") -> Self:
        """Return the stream ID, 1 to 256 visible ASCII characters. Raises InvalidValue."""
        if not _VISIBLE.match(text):
            raise InvalidValue(field, f"expected 1 to 256 visible characters, got {shorten(text)}")
        return cls(text)


class DialbackKey:
    """A dialback key. Its text never shows in `repr`, `str` or a log line; see `reveal`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @classmethod
    def parse(cls, text: str, field: str = "key") -> Self:
        """Return the key in `text`, trimmed of XML white space, 1 to 256 visible characters.

        Raises InvalidValue; its message never holds the text.
        """
        trimmed = text.strip(_XML_WHITE_SPACE)
        if not _VISIBLE.match(trimmed):
            raise InvalidValue(field, "expected 1 to 256 visible characters")
        return cls(trimmed)

    def reveal(self) -> str:
        """The text itself, for the wire and for comparison only."""
        return self._text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DialbackKey):
            return NotImplemented
        return compare_digest(self._text.encode(), other._text.encode())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "<dialback key>"
