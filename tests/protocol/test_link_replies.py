"""Replies on the component link: well-formed, signed, and good for one request only."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.jobs import Condition, Evidence, Verdict
from sidecar.names import DialbackKey, Domain
from sidecar.protocol.link_mac import LinkKey, canonical_element, canonical_reply
from sidecar.protocol.link_replies import ReplyAddress, render_answer, render_refusal

KEY = LinkKey(b"s3cr3t")
US = Domain.parse("dialback.capulet.example")
MAC = "b5378db4aa2fcb70a2746857bd1521f7e14b969b12770551b195cbac073e06c0"
XML_TEXT = st.text(
    st.characters(min_codepoint=32, max_codepoint=0xD7FF) | st.sampled_from("\t\n<>&'\""),
    min_size=1,
)


def _reply(answer: DialbackKey | Verdict | None) -> Element:
    reply = fromstring(render_answer(answer, ReplyAddress("1", "capulet.example", US), MAC, KEY))
    assert reply.get("type") == "result"
    assert reply[0].get("mac") == KEY.mac(canonical_reply(MAC, canonical_element(reply[0])))
    return reply[0]


@pytest.mark.parametrize(
    ("verdict", "attributes"),
    [
        (Verdict.valid(), {"type": "valid"}),
        (Verdict.valid(Evidence.KEY), {"type": "valid", "evidence": "key"}),
        (Verdict.invalid("not-issued"), {"type": "invalid", "reason": "not-issued"}),
        (
            Verdict.error(Condition.REMOTE_SERVER_TIMEOUT, "dns"),
            {"type": "error", "condition": "remote-server-timeout", "reason": "dns"},
        ),
    ],
)
def test_verdict_says_all_it_knows(verdict: Verdict, attributes: dict[str, str]) -> None:
    reply = _reply(verdict)
    assert reply.tag == "{urn:dialback-sidecar:1}verdict"
    assert {name: value for name, value in reply.attrib.items() if name != "mac"} == attributes


def test_key_is_the_text_of_its_element() -> None:
    reply = _reply(DialbackKey.parse("<&'\"]]>"))
    assert (reply.tag, reply.text) == ("{urn:dialback-sidecar:1}key", "<&'\"]]>")


def test_report_is_received() -> None:
    assert _reply(None).tag == "{urn:dialback-sidecar:1}received"


@given(XML_TEXT)
def test_reason_of_any_text_arrives_as_it_was_signed(reason: str) -> None:
    assert _reply(Verdict.invalid(reason)).get("reason") == reason


@given(XML_TEXT, XML_TEXT)
def test_addresses_of_any_text_come_back_as_they_were(iq_id: str, asker: str) -> None:
    for text in (
        render_answer(None, ReplyAddress(iq_id, asker, US), MAC, KEY),
        render_refusal("forbidden", ReplyAddress(iq_id, asker, US)),
    ):
        reply = fromstring(text)
        assert (reply.get("id"), reply.get("to"), reply.get("from")) == (iq_id, asker, US)


@pytest.mark.parametrize(("condition", "kind"), [("forbidden", "auth"), ("bad-request", "modify")])
def test_refusal_is_a_stanza_error_without_mac(condition: str, kind: str) -> None:
    address = ReplyAddress("1", "capulet.example", US)
    reply = fromstring(render_refusal(condition, address, "stream: <bad>"))  # type: ignore[arg-type]
    assert reply.get("type") == "error"
    assert reply[0].get("type") == kind
    assert [child.tag.rpartition("}")[2] for child in reply[0]] == [condition, "text"]
    assert reply[0][1].text == "stream: <bad>"
    assert "mac" not in reply[0].attrib
