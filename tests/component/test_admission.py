"""Who may ask over a link: the table."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import (
    CHECK,
    ISSUE,
    JID,
    KEY_TEXT,
    NS,
    REPORT,
    SECRET,
    VERIFY,
    request,
)

from sidecar.component.admission import Admission, Admitted, Refused, Why
from sidecar.config.link_domains import LinkDomains
from sidecar.jobs import Check, Issue, Report, Verify
from sidecar.names import Domain
from sidecar.protocol.link_mac import LinkKey, canonical_request


def _admission(*domains: str) -> Admission:
    return Admission(
        Domain.parse(JID), LinkDomains(domains or ("capulet.example",)), LinkKey(SECRET)
    )


def _why(admission: Admission, stanza: str | Element) -> Why | None:
    iq = fromstring(stanza) if isinstance(stanza, str) else stanza
    judged = admission.admit(iq)
    assert not isinstance(judged, Admitted)
    return None if judged is None else judged.why


@pytest.mark.parametrize(
    ("payload", "kind", "job"),
    [
        (ISSUE, "set", Issue),
        (VERIFY, "get", Verify),
        (CHECK, "get", Check),
        (REPORT, "set", Report),
    ],
)
def test_every_job_is_admitted_from_a_domain_of_the_link(
    payload: str, kind: str, job: type
) -> None:
    judged = _admission().admit(fromstring(request(payload, kind=kind)))
    assert isinstance(judged, Admitted)
    assert isinstance(judged.job, job)
    assert judged.host == "capulet.example"


@pytest.mark.parametrize(
    "asker",
    [
        "mallory@capulet.example",
        "capulet.example/resource",
        "mallory@capulet.example/x",
        "xcapulet.example",
        "capulet.example.evil.example",
        "sub.capulet.example",
        "montague.example",
        "other.component.example",
        JID,
        "capulet.example.",
        " capulet.example",
        "@",
    ],
)
def test_only_exactly_a_domain_of_the_link_may_ask_even_with_a_right_mac(asker: str) -> None:
    assert _why(_admission(), request(VERIFY, from_=asker)) is Why.STRANGER


@pytest.mark.parametrize("to", ["", "x@" + JID, JID + "/x", "capulet.example"])
def test_only_what_is_addressed_to_us_is_admitted(to: str) -> None:
    assert _why(_admission(), request(VERIFY, to=to)) is Why.NOT_ADDRESSED_TO_US


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (ISSUE.replace("sender='capulet", "sender='evil"), "set"),
        (VERIFY.replace("sender='capulet", "sender='evil"), "get"),
        (CHECK.replace("target='capulet", "target='evil"), "get"),
        (REPORT.replace("sender='capulet", "sender='evil"), "set"),
        (REPORT.replace("role='initiating'", "role='receiving'"), "set"),
        (
            REPORT.replace("role='initiating'", "role='authoritative'").replace(
                "sender='capulet", "sender='evil"
            ),
            "set",
        ),
    ],
)
def test_local_domain_of_the_job_belongs_to_the_link(payload: str, kind: str) -> None:
    assert _why(_admission(), request(payload, kind=kind)) is Why.FOREIGN_DOMAIN


def test_one_foreign_outcome_refuses_the_whole_report() -> None:
    outcome = REPORT[len("<report>") : -len("</report>")]
    payload = f"<report>{outcome}{outcome.replace('capulet', 'evil')}</report>"
    assert _why(_admission(), request(payload, kind="set")) is Why.FOREIGN_DOMAIN


def test_job_may_be_about_another_domain_of_the_same_link() -> None:
    admission = _admission("capulet.example", "rooms.capulet.example")
    payload = ISSUE.replace("sender='capulet", "sender='rooms.capulet")
    judged = admission.admit(fromstring(request(payload, kind="set")))
    assert isinstance(judged, Admitted)


def test_check_whose_sender_is_hosted_here_is_refused() -> None:
    admission = _admission("capulet.example", "*.verona.example")
    for sender in ("capulet.example", "rooms.verona.example"):
        payload = CHECK.replace("montague.example", sender)
        assert _why(admission, request(payload)) is Why.OWN_SENDER


def test_wildcard_link_admits_any_domain_and_learns_what_is_hosted() -> None:
    admission = _admission("*")
    payload = CHECK.replace("montague.example", "verona.example")
    assert isinstance(admission.admit(fromstring(request(payload))), Admitted)
    assert not admission.is_local(Domain.parse("verona.example"))
    from_verona = VERIFY.replace("capulet.example", "verona.example")
    judged = admission.admit(fromstring(request(from_verona, from_="verona.example")))
    assert isinstance(judged, Admitted)
    assert _why(admission, request(payload)) is Why.OWN_SENDER


def test_wildcard_link_learns_nothing_from_a_request_without_a_right_mac() -> None:
    admission = _admission("*")
    stanza = request(VERIFY, from_="montague.example", secret=b"guessed")
    assert _why(admission, stanza) is Why.WRONG_MAC
    assert isinstance(admission.admit(fromstring(request(CHECK))), Admitted)


def test_wildcard_link_learns_nothing_from_what_a_request_is_about() -> None:
    admission = _admission("*")
    payload = CHECK.replace("target='capulet", "target='montague")
    assert isinstance(admission.admit(fromstring(request(payload))), Admitted)
    assert not admission.is_local(Domain.parse("montague.example"))


def test_learnt_domains_are_forgotten_with_the_connection() -> None:
    admission = _admission("*")
    admission.admit(fromstring(request(VERIFY)))
    admission.forget_seen()
    assert not admission.is_local(Domain.parse("capulet.example"))


@pytest.mark.parametrize("name", ["sender", "target", "stream", "ip", "unknown"])
def test_altered_attribute_is_refused(name: str) -> None:
    iq = fromstring(request(VERIFY.replace(" stream", " unknown='1' ip='192.0.2.7' stream")))
    iq[0].set(name, "other.example")
    assert _why(_admission(), iq) is Why.WRONG_MAC


@pytest.mark.parametrize("name", ["id", "from", "type"])
def test_request_moved_into_another_iq_is_refused(name: str) -> None:
    admission = _admission("capulet.example", "verona.example")
    iq = fromstring(request(VERIFY))
    iq.set(name, {"id": "other", "from": "verona.example", "type": "set"}[name])
    assert _why(admission, iq) is Why.WRONG_MAC


def test_every_altered_character_of_the_key_is_refused() -> None:
    iq = fromstring(request(VERIFY))
    for place, was in enumerate(KEY_TEXT):
        iq[0].text = KEY_TEXT[:place] + ("0" if was != "0" else "1") + KEY_TEXT[place + 1 :]
        assert _why(_admission(), iq) is Why.WRONG_MAC


def test_request_without_mac_is_refused() -> None:
    iq = fromstring(request(VERIFY))
    del iq[0].attrib["mac"]
    assert _why(_admission(), iq) is Why.WRONG_MAC


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "<query xmlns='http://jabber.org/protocol/disco#info'/>",
        "<ping xmlns='urn:xmpp:ping'/>",
        f"<verify xmlns='{NS}0'/>",
        f"<verify xmlns='{NS}'/><verify xmlns='{NS}'/>",
    ],
)
def test_iq_that_holds_no_request_is_refused(payload: str) -> None:
    iq = f"<iq type='get' id='1' from='capulet.example' to='{JID}'>{payload}</iq>"
    assert _why(_admission(), iq) is Why.NOT_A_REQUEST


@pytest.mark.parametrize("kind", ["result", "error", "", "GET"])
def test_iq_of_any_other_type_gets_no_answer(kind: str) -> None:
    assert _why(_admission(), request(VERIFY, kind=kind)) is None


def test_iq_with_a_very_long_id_gets_no_answer() -> None:
    assert _why(_admission(), request(VERIFY, id="x" * 257)) is None


def test_malformed_request_is_bad_request_and_tells_its_field() -> None:
    judged = _admission().admit(fromstring(request(VERIFY.replace("D60000229F", ""))))
    assert isinstance(judged, Refused)
    assert judged.is_bad_request
    assert judged.told.startswith("stream: ")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    ["capulet.example", "montague.example", "true", "get", "initiating", "dialback", "valid", "1"]
)
NAMES = st.sampled_from(
    "sender target stream ip remaining encrypted chain require role mechanism type".split()
)
TAGS = st.sampled_from("issue verify check report key certificate outcome later".split())


def _element(tag: str, attributes: dict[str, str], text: str, children: list[Element]) -> Element:
    element = Element(f"{{{NS}}}{tag}", attributes)
    element.text = text
    element.extend(children)
    return element


PAYLOADS = st.recursive(
    st.builds(_element, TAGS, st.dictionaries(NAMES, TEXT), TEXT, st.just([])),
    lambda inner: st.builds(
        _element, TAGS, st.dictionaries(NAMES, TEXT), TEXT, st.lists(inner, max_size=3)
    ),
    max_leaves=6,
)


@given(PAYLOADS, st.sampled_from(["get", "set"]))
def test_whatever_is_signed_gets_a_judgement_and_no_exception(payload: Element, kind: str) -> None:
    iq = Element("iq", {"type": kind, "id": "1", "from": "capulet.example", "to": JID})
    iq.append(payload)
    payload.set("mac", LinkKey(SECRET).mac(canonical_request(iq, payload)))
    judged = _admission().admit(iq)
    assert isinstance(judged, Admitted) or (isinstance(judged, Refused) and judged.told)


@given(st.dictionaries(st.sampled_from(["type", "id", "from", "to"]), TEXT), PAYLOADS)
def test_nothing_unsigned_is_admitted(attributes: dict[str, str], payload: Element) -> None:
    iq = Element("iq", attributes)
    iq.append(payload)
    judged = _admission("*").admit(iq)
    assert judged is None or (isinstance(judged, Refused) and not judged.told)
