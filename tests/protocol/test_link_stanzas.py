"""Requests of the component link: every field checked, unknown elements refused."""

from __future__ import annotations

import base64
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import InvalidValue
from sidecar.jobs import Check, Issue, Report, ReportedOutcome, Role, Verify
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.protocol.link_stanzas import MAX_CERTIFICATE_BYTES, read_job, read_remaining

PAIR = DomainPair(sender=Domain.parse("capulet.example"), target=Domain.parse("montague.example"))
STREAM = StreamId.parse("D60000229F")
NS = "xmlns='urn:dialback-sidecar:1'"
COMMON = f"{NS} sender='capulet.example' target='montague.example' stream='D60000229F'"
DER = bytes(range(256))
CERTIFICATE = f"<certificate>{base64.b64encode(DER).decode()}</certificate>"
OUTCOME = (
    "<outcome role='initiating' mechanism='dialback' sender='capulet.example'"
    " target='montague.example' stream='D60000229F' type='valid'/>"
)
ISSUE = f"<issue {COMMON}/>"
VERIFY = f"<verify {COMMON}>b483</verify>"
CHECK = f"<check {COMMON}><key>b483</key></check>"
REPORT = f"<report {NS}>{OUTCOME}</report>"
KINDS = {ISSUE: "set", VERIFY: "get", CHECK: "get", REPORT: "set"}


def test_issue_is_read_with_all_its_fields() -> None:
    text = f"<issue {COMMON} encrypted='true' ip='192.0.2.7'>{CERTIFICATE}</issue>"
    assert read_job(fromstring(text), "set") == Issue(
        pair=PAIR, stream=STREAM, encrypted=True, ip="192.0.2.7", certificate=DER
    )


@pytest.mark.parametrize(
    ("said", "child", "left_out"),
    [("on-demand", "", True), ("on-demand", CERTIFICATE, False), ("none", "", False)],
)
def test_issue_says_that_it_left_the_certificate_out(said: str, child: str, left_out: bool) -> None:
    job = read_job(fromstring(f"<issue {COMMON} certificate='{said}'>{child}</issue>"), "set")
    assert isinstance(job, Issue)
    assert job.certificate_on_demand == left_out
    assert (job.certificate is None) == (child == "")


def test_issue_needs_no_more_than_pair_and_stream() -> None:
    assert read_job(fromstring(ISSUE), "set") == Issue(pair=PAIR, stream=STREAM)


def test_verify_is_read_with_its_key_trimmed() -> None:
    text = f"<verify {COMMON} ip='2001:DB8::7'>\n\t b483 \r\n</verify>"
    assert read_job(fromstring(text), "get") == Verify(
        pair=PAIR, stream=STREAM, key=DialbackKey.parse("b483"), ip="2001:db8::7"
    )


def test_check_is_read_with_all_its_fields() -> None:
    text = (
        f"<check {COMMON} encrypted='true' ip='::ffff:192.0.2.7' chain='self signed'"
        f" require='certificate'><key>b483</key>{CERTIFICATE}{CERTIFICATE}</check>"
    )
    assert read_job(fromstring(text), "get") == Check(
        pair=PAIR,
        stream=STREAM,
        key=DialbackKey.parse("b483"),
        encrypted=True,
        ip="192.0.2.7",
        chain="self signed",
        require="certificate",
        certificates=(DER, DER),
    )


def test_report_is_read_outcome_by_outcome() -> None:
    closed = OUTCOME.replace("'valid'", "'closed'").replace("initiating", "receiving")
    text = f"<report {NS}>{OUTCOME}{closed}</report>"
    assert read_job(fromstring(text), "set") == Report(
        (
            ReportedOutcome(
                role=Role.INITIATING, mechanism="dialback", pair=PAIR, stream=STREAM, type="valid"
            ),
            ReportedOutcome(
                role=Role.RECEIVING, mechanism="dialback", pair=PAIR, stream=STREAM, type="closed"
            ),
        )
    )


@pytest.mark.parametrize("text", KINDS)
def test_unknown_attribute_is_ignored(text: str) -> None:
    known, unknown = fromstring(text), fromstring(text.replace(NS, f"{NS} later='1'"))
    assert read_job(unknown, KINDS[text]) == read_job(known, KINDS[text])


@pytest.mark.parametrize("text", KINDS)
@pytest.mark.parametrize("name", ["later", "{urn:dialback-sidecar:1}later", "key"])
def test_unknown_element_is_refused(text: str, name: str) -> None:
    payload = fromstring(text)
    payload.append(Element(name))
    with pytest.raises(InvalidValue, match="payload: unexpected element"):
        read_job(payload, KINDS[text])


@pytest.mark.parametrize(
    ("text", "path"),
    [(CHECK, 0), (REPORT, 0), (f"<issue {COMMON}>{CERTIFICATE}</issue>", 0)],
)
def test_element_inside_a_leaf_is_refused(text: str, path: int) -> None:
    payload = fromstring(text)
    payload[path].append(Element("{urn:dialback-sidecar:1}key"))
    with pytest.raises(InvalidValue, match="unexpected element"):
        read_job(payload, "get" if text == CHECK else "set")


@pytest.mark.parametrize("text", KINDS)
def test_iq_type_has_to_be_that_of_the_job(text: str) -> None:
    with pytest.raises(InvalidValue, match="type: expected"):
        read_job(fromstring(text), "set" if KINDS[text] == "get" else "get")


@pytest.mark.parametrize(
    ("text", "was", "becomes", "field"),
    [
        (ISSUE, "<issue", "<isue", "payload"),
        (ISSUE, "sender='capulet.example'", "", "sender"),
        (ISSUE, "capulet.example", "user@capulet.example", "sender"),
        (ISSUE, "montague.example", "montague.example:5269", "target"),
        (ISSUE, "montague.example", "", "target"),
        (ISSUE, "stream='D60000229F'", "", "stream"),
        (ISSUE, "D60000229F", "", "stream"),
        (ISSUE, "D60000229F", "a b", "stream"),
        (ISSUE, "D60000229F", "x" * 257, "stream"),
        (ISSUE, " stream", " encrypted='yes' stream", "encrypted"),
        (ISSUE, " stream", " ip='localhost' stream", "ip"),
        (ISSUE, " stream", " ip='' stream", "ip"),
        (ISSUE, " stream", " ip='192.0.2.7:5269' stream", "ip"),
        (VERIFY, "b483", "", "key"),
        (VERIFY, "b483", "b4 83", "key"),
        (VERIFY, "b483", "x" * 257, "key"),
        (CHECK, "<key>b483</key>", "", "key"),
        (CHECK, "<key>b483</key>", "<key>b483</key><key>b483</key>", "payload"),
        (CHECK, "</check>", CERTIFICATE * 11 + "</check>", "payload"),
        (CHECK, "</check>", "<certificate/></check>", "certificate"),
        (CHECK, "</check>", "<certificate>AAAA\nAAAA</certificate></check>", "certificate"),
        (CHECK, "</check>", "<certificate>AAA</certificate></check>", "certificate"),
        (CHECK, "</check>", "<certificate>ü</certificate></check>", "certificate"),
        (
            CHECK,
            "</check>",
            f"<certificate>{'A' * (MAX_CERTIFICATE_BYTES * 2)}</certificate></check>",
            "certificate",
        ),
        (CHECK, " stream", f" chain='{'x' * 1025}' stream", "chain"),
        (CHECK, " stream", " require='dane' stream", "require"),
        (CHECK, " stream", " require='' stream", "require"),
        (REPORT, OUTCOME, "", "outcome"),
        (REPORT, OUTCOME, OUTCOME * 65, "outcome"),
        (REPORT, "initiating", "client", "role"),
        (REPORT, "'dialback'", "'magic'", "mechanism"),
        (REPORT, "'valid'", "'ok'", "type"),
        (REPORT, " type='valid'", "", "type"),
    ],
)
def test_wrong_field_is_named(text: str, was: str, becomes: str, field: str) -> None:
    changed = text.replace(was, becomes)
    if field in ("certificate", "payload"):
        changed = changed.replace("<certificate", f"<certificate {NS}")
    with pytest.raises(InvalidValue) as error:
        read_job(fromstring(changed), KINDS[text])
    assert error.value.field == field


@given(st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), min_size=8))
def test_no_message_holds_the_key(text: str) -> None:
    for payload, holder in ((fromstring(VERIFY), None), (fromstring(CHECK), 0)):
        (payload if holder is None else payload[holder]).text = text
        try:
            read_job(payload, "get")
        except InvalidValue as error:
            assert str(error) == "key: expected 1 to 256 visible characters"


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0.0), ("1", 0.001), ("4800", 4.8), ("999999999", 999999.999)]
)
def test_remaining_is_milliseconds(text: str, seconds: float) -> None:
    assert read_remaining(Element("verify", remaining=text)) == seconds


def test_remaining_need_not_be_said() -> None:
    assert read_remaining(Element("verify")) is None


@pytest.mark.parametrize("text", ["", "-1", "1.5", "soon", "1e9", "9999999999", "١", "1 "])
def test_remaining_that_is_no_number_is_named(text: str) -> None:
    with pytest.raises(InvalidValue, match="remaining: "):
        read_remaining(Element("verify", remaining=text))


@pytest.mark.parametrize(
    ("said", "taken"),
    [("refused", "refused"), ("not-offered", "not-offered"), ("unused", "unused"), ("maybe", None)],
)
@pytest.mark.parametrize("text", [ISSUE, CHECK])
def test_why_external_did_not_do_is_taken_for_the_record(
    text: str, said: str, taken: str | None
) -> None:
    """A word that we do not know is left out, as an unknown attribute is."""
    payload = fromstring(text)
    payload.set("external", said)
    job = read_job(payload, KINDS[text])
    assert isinstance(job, Issue | Check)
    assert job.external == taken
