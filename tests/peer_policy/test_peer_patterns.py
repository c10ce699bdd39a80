"""Which peers a pattern is about, and how it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules_for_tests import covers

from sidecar.errors import InvalidValue
from sidecar.names import Domain
from sidecar.peer_policy import PeerPattern
from sidecar.peer_policy.pattern import patterns_of

LABELS = st.lists(st.sampled_from(["a", "b", "xmpp", "bücher", "x-y"]), min_size=1, max_size=5)
DOMAINS = LABELS.map(lambda labels: Domain.parse(".".join(labels)))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("*", "*"),
        ("Example.NET", "example.net"),
        ("*.Example.net", "*.example.net"),
        ("*.net", "*.net"),
        ("xn--bcher-kva.example", "bücher.example"),
        ("*.BÜCHER.example", "*.bücher.example"),
        ("localhost", "localhost"),
    ],
)
def test_pattern_has_one_canonical_form(text: str, canonical: str) -> None:
    assert PeerPattern.parse(text) == canonical


@pytest.mark.parametrize(
    "text",
    [
        *("", "*.", "**", "*.*", "*.*.example", "a.*.example", "*example.net", ".example.net"),
        *("a b", "example.net.", "*.example.net:5269", "a@example.net", "example.net/x"),
    ],
)
def test_what_is_no_pattern_is_refused_with_the_field_named(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"^domain: expected a domain, \*\.DOMAIN or \*, got"):
        PeerPattern.parse(text)


@pytest.mark.parametrize(
    ("pattern", "domain", "covered"),
    [
        ("*", "example.net", True),
        ("example.net", "example.net", True),
        ("example.net", "xmpp.example.net", False),
        ("*.example.net", "example.net", False),
        ("*.example.net", "xmpp.example.net", True),
        ("*.example.net", "a.b.example.net", True),
        ("*.example.net", "badexample.net", False),
        ("*.net", "example.net", True),
        ("*.bücher.example", "chat.xn--bcher-kva.example", True),
    ],
)
def test_wildcard_covers_what_is_below_and_not_itself(
    pattern: str, domain: str, covered: bool
) -> None:
    patterns = patterns_of(Domain.parse(domain))
    assert (PeerPattern.parse(pattern) in patterns) is covered


@given(DOMAINS)
def test_patterns_of_a_domain_get_less_specific_and_end_with_all(domain: Domain) -> None:
    patterns = patterns_of(domain)
    assert patterns[0] == domain and patterns[-1] == "*"
    assert len(patterns) == domain.count(".") + 2
    lengths = [len(pattern) for pattern in patterns[1:]]
    assert lengths == sorted(lengths, reverse=True)
    assert all(covers(pattern, domain) for pattern in patterns)
    assert [PeerPattern.parse(pattern) for pattern in patterns] == patterns
