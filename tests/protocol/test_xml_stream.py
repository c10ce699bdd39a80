"""The XML parser: flows as data, replayed whole, byte by byte and in random pieces."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import StreamViolation
from sidecar.protocol.xml import Element, Limits, StreamEnd, StreamPart, StreamStart, XmlStream

ROOT = (
    "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' "
    "id='1' version='1.0'>"
)
LIMITS = Limits(stream_bytes=3000, element_bytes=300, depth=4, attributes=4, elements=6)

Result = tuple[list[StreamPart], str | None]


def parse(pieces: list[bytes], limits: Limits = LIMITS) -> Result:
    """Return what came out, and the condition of the violation that ended it."""
    stream, parts = XmlStream(limits), []
    for piece in pieces:
        try:
            stream.feed(piece)
        except StreamViolation as violation:
            return [*parts, *stream.parts()], violation.condition
        parts += stream.parts()
    return parts, None


def whole(text: str | bytes) -> Result:
    return parse([text if isinstance(text, bytes) else text.encode()])


def byte_by_byte(text: str | bytes) -> Result:
    data = text if isinstance(text, bytes) else text.encode()
    return parse([data[place : place + 1] for place in range(len(data))])


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "doctype": ("<!DOCTYPE x>" + ROOT, "restricted-xml"),
    "doctype with entities": ("<!DOCTYPE x [<!ENTITY a 'b'>]>" + ROOT, "restricted-xml"),
    "comment before the header": ("<!-- x -->" + ROOT, "restricted-xml"),
    "comment in an element": (ROOT + "<a><!-- x --></a>", "restricted-xml"),
    "comment between elements": (ROOT + "<a/><!-- x --><b/>", "restricted-xml"),
    "processing instruction": (ROOT + "<a/><?php x?>", "restricted-xml"),
    "undefined entity": (ROOT + "<a>&lol;</a>", "restricted-xml"),
    "undefined entity in an attribute": (ROOT + "<a b='&lol;'/>", "restricted-xml"),
    "declaration of another encoding": (
        "<?xml version='1.0' encoding='ISO-8859-1'?>" + ROOT,
        "unsupported-encoding",
    ),
    "byte that is no UTF-8": (ROOT.encode() + b"<a>\xff</a>", "unsupported-encoding"),
    "overlong UTF-8": (ROOT.encode() + b"<a>\xc0\xaf</a>", "unsupported-encoding"),
    "surrogate in UTF-8": (ROOT.encode() + b"<a>\xed\xa0\x80</a>", "unsupported-encoding"),
    "truncated UTF-8": (ROOT.encode() + b"<a>\xc3</a>", "unsupported-encoding"),
    "control character": (ROOT + "<a>\x01</a>", "not-well-formed"),
    "reference to no character": (ROOT + "<a>&#0;</a>", "not-well-formed"),
    "wrong end tag": (ROOT + "<a></b>", "not-well-formed"),
    "attribute twice": (ROOT + "<a b='1' b='2'/>", "not-well-formed"),
    "prefix of nothing": (ROOT + "<x:a/>", "not-well-formed"),
    "HTTP": ("HTTP/1.1 400 Bad Request\r\n\r\n", "not-well-formed"),
    "text between elements": (ROOT + "<a/> hello <b/>", "bad-format"),
    "too many bytes": (ROOT + "<a>" + "x" * 400 + "</a>", "policy-violation"),
    "too many bytes in a tag": (ROOT + "<a b='" + "x" * 400 + "'/>", "policy-violation"),
    "header of too many bytes": (ROOT.replace("id='1'", f"id='{'1' * 300}'"), "policy-violation"),
    "too deep": (ROOT + "<a><b><c><d><e/></d></c></b></a>", "policy-violation"),
    "too many attributes": (ROOT + "<a b='' c='' d='' e='' f=''/>", "policy-violation"),
    "too many elements": (ROOT + "<a>" + "<b/>" * 6 + "</a>", "policy-violation"),
    "too long a stream": (ROOT + "<a/>" * 1000, "policy-violation"),
    "too much white space": (ROOT + " " * 4000, "policy-violation"),
}

ACCEPTED: dict[str, tuple[str, list[StreamPart]]] = {
    "declaration": (
        "<?xml version='1.0' encoding='utf-8'?>" + ROOT + "<a/>",
        [Element("jabber:server", "a")],
    ),
    "predefined entities": (
        ROOT + "<a b='&apos;&quot;'>&lt;&amp;&gt;&#x41;</a>",
        [Element("jabber:server", "a", {"b": "'\""}, text="<&>A")],
    ),
    "text on both sides of a child": (
        ROOT + "<a>x<b>y</b>z</a>",
        [Element("jabber:server", "a", {}, [Element("jabber:server", "b", text="y")], "xz")],
    ),
    "white space as keep-alive": (
        ROOT + " \n\t" * 90 + "<a/>\n<b/>" + " " * 290 + "<c/>",
        [Element("jabber:server", name) for name in "abc"],
    ),
    "many small elements": (ROOT + "<a/>" * 100, [Element("jabber:server", "a")] * 100),
    "another prefix": (
        ROOT + "<x:verify xmlns:x='jabber:server:dialback' x:y='1' z='2'/>",
        [Element("jabber:server:dialback", "verify", {"jabber:server:dialback y": "1", "z": "2"})],
    ),
    "CDATA": (ROOT + "<a><![CDATA[<b>]]></a>", [Element("jabber:server", "a", text="<b>")]),
    "letters beyond ASCII": (
        ROOT + "<a>bücher…𝄞</a>",
        [Element("jabber:server", "a", text="bücher…𝄞")],
    ),
    "end": (ROOT + "<a/></stream:stream>", [Element("jabber:server", "a"), StreamEnd()]),
}


@pytest.mark.parametrize("replay", [whole, byte_by_byte])
@pytest.mark.parametrize("case", REFUSED)
def test_parser_refuses(case, replay):
    data, condition = REFUSED[case]
    assert replay(data)[1] == condition


@pytest.mark.parametrize("replay", [whole, byte_by_byte])
@pytest.mark.parametrize("case", ACCEPTED)
def test_parser_reads(case, replay):
    text, expected = ACCEPTED[case]
    (start, *parts), condition = replay(text)
    assert condition is None
    assert isinstance(start, StreamStart)
    assert (start.name, start.namespace) == ("stream", "http://etherx.jabber.org/streams")
    assert start.attributes == {"id": "1", "version": "1.0"}
    assert start.prefixes[""] == "jabber:server"
    assert parts == expected


@pytest.mark.parametrize("replay", [whole, byte_by_byte])
def test_what_was_complete_before_a_violation_is_not_lost(replay):
    parts, condition = replay(ROOT.encode() + b"<a/><b>\xff")
    assert condition == "unsupported-encoding"
    assert parts[1:] == [Element("jabber:server", "a")]


def test_element_in_two_segments_is_delivered_with_the_second():
    stream = XmlStream()
    stream.feed(ROOT.encode() + b"<verify from='a' ")
    assert len(list(stream.parts())) == 1
    stream.feed(b"to='b'/>")
    assert list(stream.parts()) == [Element("jabber:server", "verify", {"from": "a", "to": "b"})]


def test_element_exactly_at_the_limit_of_bytes_is_read_and_one_more_byte_is_not():
    fits = "<a>" + "x" * (LIMITS.element_bytes - len("<a></a>")) + "</a>"
    assert whole(ROOT + "<b/>" + fits)[1] is None
    assert whole(ROOT + "<b/>" + fits.replace("x", "xx", 1))[1] == "policy-violation"


@pytest.mark.parametrize("case", [*REFUSED, *ACCEPTED])
@settings(max_examples=25)
@given(data=st.data())
def test_pieces_make_no_difference(case, data):
    """Invariant: the result depends on the bytes alone, never on where they were cut."""
    text = (REFUSED | ACCEPTED)[case][0]
    raw = text if isinstance(text, bytes) else text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=12)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert parse(pieces) == whole(raw)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_garbage_is_refused_or_awaited_but_never_breaks_the_parser(pieces):
    """Invariant: whatever comes, only StreamViolation is raised."""
    parse([ROOT.encode(), *pieces])
    parse(pieces)


@pytest.mark.parametrize("before", [b"", b"\n", b"<", b"<a", ROOT.encode(), ROOT.encode() + b"<a>"])
@pytest.mark.parametrize("step", [1, 1000])
def test_nul_is_refused_wherever_it_stands(before: bytes, step: int) -> None:
    stream, data = XmlStream(), before + b"\x00,"
    with pytest.raises(StreamViolation, match="not-well-formed"):
        for place in range(0, len(data), step):
            stream.feed(data[place : place + step])
