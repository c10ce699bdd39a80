"""Bytes of an XML stream -> its header, its complete first-level elements, its end.

Everything RFC 6120 §11.1 forbids is refused, and so is whatever exceeds the limits. What
comes out does not depend on how the bytes were cut into pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NoReturn
from xml.parsers import expat

from msgspec import Struct, field

from sidecar.errors import StreamViolation, shorten

_SEPARATOR = " "  # between namespace and local name; no local name holds one


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may cost us. `stream_bytes` and `names` are for the whole stream, the others for
    one header or first-level element.

    `element_bytes` counts from the end of the element before it; `depth` counts the first-level
    element as 1; `elements` counts the first-level element and everything in it. An element
    that comes byte by byte costs the square of its size: hence no more than any peer needs.
    `names` are the characters of all different names and namespaces, which expat never forgets.
    """

    stream_bytes: int = 131_072
    element_bytes: int = 16_384
    depth: int = 16
    attributes: int = 32
    elements: int = 512
    names: int = 32_768


class Element(Struct):
    """An element with its namespace, and the character data directly inside it.

    Attributes without a prefix are keyed by name, those with one by `namespace name`. Its repr
    shows no text, which may be a key.
    """

    namespace: str
    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def __repr__(self) -> str:
        return f"<{self.name} of {self.namespace!r}, {self.attributes}, {self.children}>"

    def child(self, namespace: str, name: str) -> Element | None:
        """Return the first child of that name, or None."""
        for child in self.children:
            if child.name == name and child.namespace == namespace:
                return child
        return None


@dataclass(frozen=True, slots=True)
class StreamStart:
    """The start tag of the root element. `prefixes` maps prefixes it declares to namespaces."""

    namespace: str
    name: str
    attributes: dict[str, str]
    prefixes: dict[str, str]


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The end tag of the root element."""


StreamPart = StreamStart | Element | StreamEnd


class XmlStream:
    """The parser of one direction of one stream. After STARTTLS a new one begins."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._parts: list[StreamPart] = []
        self._prefixes: dict[str, str] = {}
        self._started = False
        self._open: list[Element] = []  # from the first-level element inwards
        self._count = 0  # elements in the first-level element so far
        self._fed = 0  # bytes given to expat
        self._boundary = 0  # byte index at which the current element's cost begins
        self._incomplete = b""  # the beginning of a character
        self._names: dict[str | None, str | None] = {}  # what expat has met; it keeps them there
        self._counted = 0  # of these names, and their characters:
        self._name_characters = 0
        self._expat = _new_expat(self, self._names)

    def feed(self, data: bytes) -> None:
        """Parse `data`. Raises StreamViolation; `parts` still gives what was complete before."""
        valid, is_text = self._check_utf8(data)
        valid, nul, _ = valid.partition(b"\0")  # expat judges it by what stands around it
        position = 0
        while position < len(valid):
            piece = valid[position : position + self._room()]
            position += len(piece)
            self._fed += len(piece)
            self._parse(piece)
        if nul:
            raise StreamViolation("not-well-formed", "expected no NUL")
        if not is_text:
            raise StreamViolation("unsupported-encoding", "expected UTF-8")

    def receive(self, data: bytes) -> Iterator[StreamPart]:
        """Parse `data` and give what it completes; raises StreamViolation behind the last of it."""
        violation = None
        try:
            self.feed(data)
        except StreamViolation as error:
            violation = error
        try:
            yield from self.parts()
            if violation is not None:
                raise violation
        finally:
            violation = None  # its traceback holds this frame, and that would hold it

    def parts(self) -> Iterator[StreamPart]:
        """Take what has been parsed so far, in order."""
        parts, self._parts = self._parts, []
        return iter(parts)

    def release(self) -> None:
        """Nothing is fed any more. The parser and we hold each other: without this it would wait,
        with much memory that Python does not see, for the garbage collector."""
        for handler in _HANDLERS:
            setattr(self._expat, handler, None)

    def _room(self) -> int:
        """How many bytes expat may get before the limits have to be looked at again."""
        element = self._boundary + self._limits.element_bytes - self._fed
        if element <= 0:
            _exceeded("bytes per element", self._limits.element_bytes)
        stream = self._limits.stream_bytes - self._fed
        if stream <= 0:
            _exceeded("bytes per stream", self._limits.stream_bytes)
        return min(element, stream)

    def _check_utf8(self, data: bytes) -> tuple[bytes, bool]:
        """The valid bytes up to a character that is not complete yet, which is kept for later, and
        whether what follows can still become UTF-8."""
        data, self._incomplete = self._incomplete + data, b""
        try:
            data.decode()
        except UnicodeDecodeError as error:
            if error.end == len(data) and error.reason == "unexpected end of data":
                self._incomplete = data[error.start :]
                return data[: error.start], True
            return data[: error.start], False
        return data, True

    def _parse(self, piece: bytes) -> None:
        try:
            self._expat.Parse(piece, False)
        except expat.ExpatError as error:
            undefined = error.code == expat.errors.codes[expat.errors.XML_ERROR_UNDEFINED_ENTITY]
            condition = "restricted-xml" if undefined else "not-well-formed"
            raise StreamViolation(condition, expat.ErrorString(error.code) or "") from None

    # expat handlers; an exception in one leaves through Parse

    def on_declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.upper() != "UTF-8":
            raise StreamViolation(
                "unsupported-encoding", f"expected UTF-8, got {shorten(encoding)}"
            )

    def on_prefix(self, prefix: str | None, uri: str | None) -> None:
        if not self._started:
            self._prefixes[prefix or ""] = uri or ""

    def on_start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._names) > self._counted:
            self._count_names()
        if len(attributes) > self._limits.attributes:
            _exceeded("attributes per element", self._limits.attributes)
        namespace, _, name = tag.rpartition(_SEPARATOR)
        if not self._started:
            self._started = True
            self._boundary = self._expat.CurrentByteIndex
            self._parts.append(StreamStart(namespace, name, attributes, self._prefixes))
            return
        element = Element(namespace, name, attributes)
        self._count += 1
        if self._count > self._limits.elements:
            _exceeded("elements in one", self._limits.elements)
        if len(self._open) == self._limits.depth:
            _exceeded("levels of elements", self._limits.depth)
        if self._open:
            self._open[-1].children.append(element)
        self._open.append(element)

    def _count_names(self) -> None:
        for name in islice(self._names, self._counted, None):
            self._name_characters += len(name or "")
        self._counted = len(self._names)
        if self._name_characters > self._limits.names:
            _exceeded("characters of names in one stream", self._limits.names)

    def on_end(self, tag: str) -> None:
        if not self._open:
            self._parts.append(StreamEnd())
            return
        element = self._open.pop()
        if not self._open:
            self._count = 0
            self._boundary = self._expat.CurrentByteIndex
            self._parts.append(element)

    def on_text(self, text: str) -> None:
        if self._open:
            self._open[-1].text += text
        elif text.strip(" \t\r\n"):
            raise StreamViolation("bad-format", "expected no text between elements")
        else:  # white space that keeps the connection alive costs nothing
            self._boundary = self._expat.CurrentByteIndex + len(text)


_HANDLERS = (
    "XmlDeclHandler",
    "StartNamespaceDeclHandler",
    "StartElementHandler",
    "EndElementHandler",
    "CharacterDataHandler",
)
"""Those that are methods of an XmlStream."""


def _new_expat(stream: XmlStream, names: dict[Any, Any]) -> expat.XMLParserType:
    parser = expat.ParserCreate("utf-8", _SEPARATOR, names)
    # COMPAT(expat 2.6): without this an element that arrives in two segments is held back
    if hasattr(parser, "SetReparseDeferralEnabled"):
        parser.SetReparseDeferralEnabled(False)
    parser.XmlDeclHandler = stream.on_declaration
    parser.StartNamespaceDeclHandler = stream.on_prefix
    parser.StartElementHandler = stream.on_start
    parser.EndElementHandler = stream.on_end
    parser.CharacterDataHandler = stream.on_text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.CommentHandler = _refuse_comment
    parser.ProcessingInstructionHandler = _refuse_instruction
    return parser


def _refuse_doctype(*_: object) -> NoReturn:
    raise StreamViolation("restricted-xml", "expected no document type declaration")


def _refuse_comment(_: str) -> NoReturn:
    raise StreamViolation("restricted-xml", "expected no comment")


def _refuse_instruction(*_: str) -> NoReturn:
    raise StreamViolation("restricted-xml", "expected no processing instruction")


def _exceeded(what: str, limit: int) -> NoReturn:
    raise StreamViolation("policy-violation", f"expected at most {limit} {what}")
