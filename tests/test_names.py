"""Domain, StreamId, DialbackKey: checked once, at the edge."""

from __future__ import annotations

from encodings.idna import nameprep

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import InvalidValue
from sidecar.names import DialbackKey, Domain, StreamId


@pytest.mark.parametrize(
    ("text", "canonical", "a_label"),
    [
        ("capulet.example", "capulet.example", "capulet.example"),
        ("Capulet.EXAMPLE", "capulet.example", "capulet.example"),
        ("localhost", "localhost", "localhost"),
        ("_xmpp.example", "_xmpp.example", "_xmpp.example"),
        ("Bücher.example", "bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "bücher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "bücher.example", "xn--bcher-kva.example"),
        ("straße.example", "strasse.example", "strasse.example"),
        ("例え.example", "例え.example", "xn--r8jz45g.example"),
    ],
)
def test_domain_has_one_canonical_form(text: str, canonical: str, a_label: str) -> None:
    domain = Domain.parse(text)
    assert (domain, domain.a_label) == (canonical, a_label)


def test_a_label_that_does_not_round_trip_stays_a_name_of_its_own() -> None:
    # IDNA2008's A-label of straße: under IDNA2003, which servers use, ß is ss
    assert Domain.parse("xn--strae-oqa.example") == "xn--strae-oqa.example"
    assert Domain.parse("xn--strae-oqa.example") != Domain.parse("straße.example")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        ".example",
        "example.",
        "a b.example",
        "user@example",
        "example/resource",
        "exam\nple",
        "<db>.example",
        "a'b.example",
        "-a.example",
        "a-.example",
        "example:5269",
        "[::1]",
        "a" * 64 + ".example",
        ".".join(["a" * 60] * 5),
        "ü" * 5000,
        "a\u2028b.example",
        "a\x00b",
        "«».example",
    ],
)
def test_what_is_no_domain_is_refused_by_name_of_the_field(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"^sender: expected a domain name, got "):
        Domain.parse(text, "sender")


@given(st.text(max_size=40))
def test_parsing_is_idempotent_and_safe_in_an_attribute(text: str) -> None:
    try:
        domain = Domain.parse(text)
    except InvalidValue:
        return
    assert Domain.parse(domain) == domain
    assert Domain.parse(domain.a_label) == domain
    assert not set(domain) & set(" '\"<>&@/:\t\r\n")


@pytest.mark.parametrize("text", ["D60000229F", "a", "&<>'\"", "x" * 256])
def test_stream_id_is_opaque(text: str) -> None:
    assert StreamId.parse(text) == text


@pytest.mark.parametrize("text", ["", " ", "a b", "x" * 257, "é", "a\n", "\x7f"])
def test_stream_id_that_a_server_could_change_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="stream: expected 1 to 256 visible characters"):
        StreamId.parse(text)


def test_key_is_trimmed_of_xml_white_space_only() -> None:
    assert DialbackKey.parse("\n  b483 \t\r").reveal() == "b483"
    with pytest.raises(InvalidValue):
        DialbackKey.parse("\u00a0b483")


@pytest.mark.parametrize("text", ["", "  ", "a b", "s3cr3t-key-" * 40, "é-s3cr3t-key-"])
def test_refused_key_is_not_in_the_message(text: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        DialbackKey.parse(text)
    assert "s3cr3t" not in str(refused.value)


def test_key_does_not_show() -> None:
    key = DialbackKey.parse("b483")
    assert "b483" not in f"{key} {key!r} {[key]} { ({'key': key}) }"
    assert key == DialbackKey.parse("b483") and key != DialbackKey.parse("b484")
    with pytest.raises(TypeError):
        hash(key)


def test_ascii_labels_need_no_more_of_nameprep_than_lower_case() -> None:
    for character in map(chr, range(128)):
        assert nameprep(character) == character.lower()
