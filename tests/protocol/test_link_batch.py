"""Batches on the component link: read one by one, answered in their places under one MAC."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

import pytest

from sidecar.errors import InvalidValue
from sidecar.jobs import Condition, Issue, Verdict, Verify
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.protocol.link_batch import (
    MAX_IN_BATCH,
    RefusedRequest,
    read_batch,
    render_answers,
)
from sidecar.protocol.link_mac import LinkKey, canonical_element, canonical_reply
from sidecar.protocol.link_replies import ReplyAddress

PAIR = DomainPair(sender=Domain.parse("capulet.example"), target=Domain.parse("montague.example"))
NS = "{urn:dialback-sidecar:1}"
TRIPLE = "sender='capulet.example' target='montague.example' stream='D60000229F'"
ISSUE = f"<issue {TRIPLE}/>"
VERIFY = f"<verify {TRIPLE}>b483</verify>"
KEY = LinkKey(b"s3cr3t")
MAC = "b5378db4aa2fcb70a2746857bd1521f7e14b969b12770551b195cbac073e06c0"
HERE = ReplyAddress("1", "capulet.example", Domain.parse("dialback.capulet.example"))


def _batch(*requests: str) -> str:
    return f"<batch xmlns='urn:dialback-sidecar:1'>{''.join(requests)}</batch>"


def test_requests_are_read_in_their_order() -> None:
    read = read_batch(fromstring(_batch(VERIFY, ISSUE, VERIFY)), "set")
    stream = StreamId("D60000229F")
    verify = Verify(pair=PAIR, stream=stream, key=DialbackKey("b483"))
    assert read == (verify, Issue(pair=PAIR, stream=stream), verify)


@pytest.mark.parametrize(
    "wrong",
    [
        "<verify sender='capulet.example' target='montague.example'>b483</verify>",
        f"<verify {TRIPLE}></verify>",
        f"<verify {TRIPLE}>b483<x/></verify>",
        f"<issue {TRIPLE.replace('capulet', '-')}/>",
        f"<check {TRIPLE}><key>b483</key></check>",
        f"<report><outcome role='initiating' mechanism='dialback' type='valid' {TRIPLE}/></report>",
        f"<batch>{ISSUE}</batch>",
        "<issue xmlns='urn:other'/>",
    ],
)
def test_what_is_wrong_with_one_request_harms_no_other(wrong: str) -> None:
    before, refused, after = read_batch(fromstring(_batch(VERIFY, wrong, ISSUE)), "set")
    assert isinstance(before, Verify) and isinstance(after, Issue)
    assert isinstance(refused, RefusedRequest) and refused.condition == "bad-request"
    assert "b483" not in refused.text


@pytest.mark.parametrize("count", [0, MAX_IN_BATCH + 1])
def test_batch_of_none_or_too_many_is_refused_whole(count: int) -> None:
    with pytest.raises(InvalidValue, match="batch"):
        read_batch(fromstring(_batch(*[ISSUE] * count)), "set")


def test_batch_of_a_wrong_iq_type_is_refused_whole() -> None:
    with pytest.raises(InvalidValue, match="type"):
        read_batch(fromstring(_batch(ISSUE)), "get")


def test_answers_stand_in_the_places_of_their_requests_under_one_mac() -> None:
    answers = [
        DialbackKey("<&'"),
        Verdict.valid(),
        RefusedRequest("bad-request", "key: expected <1>"),
        Verdict.error(Condition.RESOURCE_CONSTRAINT, "ledger-full"),
        Verdict.invalid("not-issued"),
    ]
    (payload,) = fromstring(render_answers(answers, HERE, MAC, KEY))
    assert payload.tag == NS + "answers"
    assert payload.get("mac") == KEY.mac(canonical_reply(MAC, canonical_element(payload)))
    assert [(each.tag.removeprefix(NS), each.text or "", each.attrib) for each in payload] == [
        ("key", "<&'", {}),
        ("verdict", "", {"type": "valid"}),
        ("refused", "key: expected <1>", {"condition": "bad-request"}),
        (
            "verdict",
            "",
            {"type": "error", "condition": "resource-constraint", "reason": "ledger-full"},
        ),
        ("verdict", "", {"type": "invalid", "reason": "not-issued"}),
    ]
