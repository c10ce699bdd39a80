"""The MAC of the component link, against the worked example of docs/link-protocol.md."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.jobs import Verdict
from sidecar.names import Domain
from sidecar.protocol.link_mac import (
    LinkKey,
    canonical_element,
    canonical_parts,
    canonical_reply,
    canonical_request,
    same_mac,
)
from sidecar.protocol.link_replies import ReplyAddress, render_answer

PAGE = (Path(__file__).parents[2] / "docs" / "link-protocol.md").read_text()
EXAMPLE = PAGE[PAGE.index("A worked example") :]
KEY = LinkKey(b"s3cr3t")


def _worked(label: str, nth: int = 0) -> str:
    return re.findall(rf"^{label} +(\S.*)$", EXAMPLE, re.MULTILINE)[nth]


def _example() -> Element:
    """The request of the page, read by an XML parser as it is printed there."""
    request = EXAMPLE[EXAMPLE.index("<iq type='get'") : EXAMPLE.index("</iq>")]
    return fromstring(request + "</iq>")


def test_request_of_the_page_has_the_canonical_form_of_the_page() -> None:
    iq = _example()
    assert canonical_request(iq, iq[0]) == _worked("request")


def test_macs_of_the_page_are_ours() -> None:
    iq = _example()
    mac = KEY.mac(canonical_request(iq, iq[0]))
    assert mac == _worked("mac")
    verdict = canonical_parts("verdict", "", [("type", "valid")])
    assert KEY.mac(canonical_reply(mac, verdict)) == _worked("mac", 1)


def test_reply_of_the_page_is_what_we_send() -> None:
    address = ReplyAddress("4f9a1c", "capulet.example", Domain.parse("dialback.capulet.example"))
    reply = fromstring(render_answer(Verdict.valid(), address, _worked("mac"), KEY))
    assert (reply.get("id"), reply.get("to")) == ("4f9a1c", "capulet.example")
    assert reply[0].get("mac") == _worked("mac", 1)


@pytest.mark.parametrize("name", ["id", "from", "to", "type"])
def test_mac_covers_every_field_of_the_iq(name: str) -> None:
    iq = _example()
    before = canonical_request(iq, iq[0])
    iq.set(name, iq.get(name, "") + "x")
    assert canonical_request(iq, iq[0]) != before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("<e/>", "<f/>"),
        ("<e/>", "<e a=''/>"),
        ("<e a='b'/>", "<e a='c'/>"),
        ("<e>key</e>", "<e>kez</e>"),
        ("<e>key</e>", "<e>key </e>"),
        ("<e><f/></e>", "<e/>"),
        ("<e><f/><g/></e>", "<e><g/><f/></e>"),
        ("<e><f><g/></f></e>", "<e><f/><g/></e>"),
        ("<e><f/>tail</e>", "<e><f/></e>"),
        ("<e a='1' b='2'/>", "<e a='11:b1:2'/>"),
    ],
)
def test_different_elements_have_different_canonical_forms(one: str, other: str) -> None:
    assert canonical_element(fromstring(one)) != canonical_element(fromstring(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("<e b='2' a='1'/>", "<e a='1' b='2'/>"),
        ("<e mac='1'/>", "<e mac='2'/>"),
        ("<e/>", "<e xml:lang='it'/>"),
        ("<e/>", "<e xmlns='urn:dialback-sidecar:1'/>"),
        ("<e>&#107;ey</e>", "<e><![CDATA[key]]></e>"),
    ],
)
def test_what_servers_may_change_is_not_covered(one: str, other: str) -> None:
    assert canonical_element(fromstring(one)) == canonical_element(fromstring(other))


def test_lengths_are_those_of_the_utf8_bytes() -> None:
    assert canonical_parts("e", "ü", []).startswith("1:e2:ü")


@given(st.text(), st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.text()))
def test_elements_made_and_parsed_agree(text: str, attributes: dict[str, str]) -> None:
    counted = {name: value for name, value in attributes.items() if name not in ("mac", "xmlns")}
    element = Element("e", counted)
    element.text = text
    assert canonical_element(element) == canonical_parts("e", text, counted.items())


@pytest.mark.parametrize("received", [None, "", "0" * 63, "0" * 65, "١" * 64, "0" * 63 + "1"])
def test_a_mac_that_does_not_fit_exactly_is_refused(received: str | None) -> None:
    assert not same_mac("0" * 64, received)


def test_upper_case_mac_is_refused() -> None:
    assert same_mac("ab" * 32, "ab" * 32)
    assert not same_mac("ab" * 32, "AB" * 32)


def test_link_key_does_not_show() -> None:
    assert _worked("link key")[:8] not in repr(KEY)
