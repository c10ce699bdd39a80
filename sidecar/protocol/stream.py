"""Stream headers, features, STARTTLS and stream errors: read from elements, written as bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.sax.saxutils import escape

from sidecar.errors import StreamViolation, shorten
from sidecar.names import Domain
from sidecar.protocol import namespaces as ns
from sidecar.protocol.xml import Element, StreamStart

CLOSE = b"</stream:stream>"
STARTTLS = f"<starttls xmlns='{ns.STARTTLS}'/>".encode()
PROCEED = f"<proceed xmlns='{ns.STARTTLS}'/>".encode()
TLS_FAILURE = f"<failure xmlns='{ns.STARTTLS}'/>".encode()
SASL_FAILURE = f"<failure xmlns='{ns.SASL}'><invalid-mechanism/></failure>".encode()


_SPECIAL = re.compile("[&<>'\t\n\r]")


def quoted(value: str) -> str:
    """Return `value` as an attribute value, quotes included."""
    if not _SPECIAL.search(value):
        return f"'{value}'"
    return "'" + escape(value, {"'": "&apos;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}) + "'"


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """What a peer's stream header says (RFC 6120 §4.7).

    `legacy` is a server without version 1.0: it sends no features. `dialback` says whether the
    dialback namespace is declared (XEP-0220 §2.4.1). `sender` and `recipient` are `from` and `to`.
    """

    id: str | None
    legacy: bool
    dialback: bool
    sender: str | None = None
    recipient: str | None = None


def read_header(start: StreamStart) -> StreamHeader:
    """Raises StreamViolation for what is no header of a server-to-server stream."""
    if start.namespace != ns.STREAM or start.prefixes.get("") != ns.SERVER:
        raise StreamViolation("invalid-namespace", "expected a server-to-server stream")
    if start.name != "stream":
        raise StreamViolation("bad-format", f"expected a stream header, got {shorten(start.name)}")
    return StreamHeader(
        id=start.attributes.get("id"),
        legacy=_major_version(start.attributes.get("version", "0.0")) < 1,
        dialback=ns.DIALBACK in start.prefixes.values(),
        sender=start.attributes.get("from"),
        recipient=start.attributes.get("to"),
    )


def _major_version(text: str) -> int:
    major, dot, minor = text.partition(".")
    if not (text.isascii() and dot and major.isdigit() and minor.isdigit() and len(text) < 9):
        raise StreamViolation("unsupported-version", f"expected version 1.0, got {shorten(text)}")
    return int(major)


def write_header(*, local: Domain | None, remote: Domain) -> bytes:
    """The header of a stream that we open from `local` (if we say so) to `remote`."""
    sender = f" from={quoted(local)}" if local is not None else ""
    return (
        f"<?xml version='1.0'?><stream:stream xmlns='{ns.SERVER}' xmlns:stream='{ns.STREAM}' "
        f"xmlns:db='{ns.DIALBACK}'{sender} to={quoted(remote)} version='1.0'>"
    ).encode()


def write_response_header(header: StreamHeader | None, stream: str) -> bytes:
    """The response to a peer's header (RFC 6120 §4.7), None where it sent none that we can read.

    `stream` is the ID we give the stream. A peer without version gets none (RFC 6120 §4.7.5).
    """
    text = (
        f"<?xml version='1.0'?><stream:stream xmlns='{ns.SERVER}' xmlns:stream='{ns.STREAM}' "
        f"xmlns:db='{ns.DIALBACK}' id={quoted(stream)}"
    )
    if header is not None and header.recipient is not None:
        text += f" from={quoted(header.recipient)}"
    if header is not None and header.sender is not None:
        text += f" to={quoted(header.sender)}"
    if header is None or not header.legacy:
        text += " xml:lang='en' version='1.0'"
    return f"{text}>".encode()


def write_features(*, starttls: bool, required: bool) -> bytes:
    """Our stream features: dialback with errors (XEP-0220 §2.4.2), and TLS where we offer it."""
    tls = ""
    if starttls:
        inner = "<required/>" if required else ""
        tls = f"<starttls xmlns='{ns.STARTTLS}'>{inner}</starttls>"
    dialback = f"<dialback xmlns='{ns.DIALBACK_FEATURE}'><errors/></dialback>"
    return f"<stream:features>{tls}{dialback}</stream:features>".encode()


@dataclass(frozen=True, slots=True)
class Features:
    """What of a peer's stream features concerns dialback (RFC 6120 §4.3.2, XEP-0220 §2.4)."""

    starttls: bool
    dialback: bool
    dialback_errors: bool = False


def read_features(element: Element) -> Features:
    """`dialback_errors`: the peer may be asked about several domains (XEP-0220 §2.6.2)."""
    dialback = element.child(ns.DIALBACK_FEATURE, "dialback")
    return Features(
        starttls=element.child(ns.STARTTLS, "starttls") is not None,
        dialback=dialback is not None,
        dialback_errors=dialback is not None
        and dialback.child(ns.DIALBACK_FEATURE, "errors") is not None,
    )


def write_stream_error(condition: str) -> bytes:
    """A stream error (RFC 6120 §4.9) and the end of the stream. No text: it is for us only."""
    return (
        f"<stream:error><{condition} xmlns='{ns.STREAM_ERRORS}'/></stream:error></stream:stream>"
    ).encode()


def read_stream_error(element: Element) -> tuple[str, str]:
    """Return condition and text of a stream error; `undefined-condition` when it names none."""
    return read_error(element, ns.STREAM_ERRORS)


def read_error(element: Element, namespace: str) -> tuple[str, str]:
    """Return condition and text of a stream or stanza error whose conditions are in `namespace`."""
    condition, text = "undefined-condition", ""
    for child in element.children:
        if child.namespace == namespace:
            if child.name == "text":
                text = child.text
            else:
                condition = child.name
    return condition, text
