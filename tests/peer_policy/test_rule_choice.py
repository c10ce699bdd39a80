"""Of all rules the most specific one that has not expired decides, alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules_for_tests import NOW_MS, SECOND_MS, covers, rule

from sidecar.errors import InvalidValue
from sidecar.jobs import Evidence
from sidecar.names import Domain
from sidecar.peer_policy import Action, PeerPattern, PeerRule, RuleBook, Unchanged
from sidecar.peer_policy import rule_book as rule_book_module
from sidecar.preconditions import NO_PRECONDITION, Precondition

BOOK = RuleBook(
    [
        rule("*", require_encryption=True),
        rule("*.net"),
        rule("*.example.net", action=Action.DENY),
        rule("*.chat.example.net"),
        rule("xmpp.chat.example.net", expires_in=SECOND_MS),
        rule("old.example.net", expires_in=-SECOND_MS),
    ]
)
XMPP = PeerPattern.parse("xmpp.example.net")


@pytest.mark.parametrize(
    ("domain", "after_ms", "pattern"),
    [
        ("example.org", 0, "*"),
        ("net", 0, "*"),
        ("example.net", 0, "*.net"),
        ("xmpp.example.net", 0, "*.example.net"),
        ("chat.example.net", 0, "*.example.net"),
        ("a.b.chat.example.net", 0, "*.chat.example.net"),
        ("xmpp.chat.example.net", 0, "xmpp.chat.example.net"),
        ("xmpp.chat.example.net", SECOND_MS - 1, "xmpp.chat.example.net"),
        ("xmpp.chat.example.net", SECOND_MS, "*.chat.example.net"),
        ("old.example.net", 0, "*.example.net"),
    ],
)
def test_most_specific_rule_that_is_not_over_decides(
    domain: str, after_ms: int, pattern: str
) -> None:
    found = BOOK.rule_for(Domain.parse(domain), NOW_MS + after_ms)
    assert found is not None and found.pattern == pattern


def test_without_a_rule_that_fits_the_configuration_decides() -> None:
    book = RuleBook([rule("example.net"), rule("*", expires_in=0)])
    assert book.rule_for(Domain.parse("example.org"), NOW_MS) is None
    assert RuleBook().rule_for(Domain.parse("example.org"), NOW_MS) is None


LABEL = st.sampled_from(["a", "b", "c"])
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
PATTERN = st.one_of(st.just("*"), DOMAIN, DOMAIN.map(lambda domain: f"*.{domain}"))
RULES = st.dictionaries(PATTERN, st.none() | st.integers(-3, 3), max_size=12)


@given(RULES, DOMAIN)
def test_choice_is_the_longest_pattern_that_covers_the_domain(
    wanted: dict[str, int | None], name: str
) -> None:
    """Against a plain search: an exact rule first, then by the length of the pattern."""
    rules = [rule(pattern, expires_in=expires) for pattern, expires in wanted.items()]
    domain = Domain.parse(name)
    fitting = [r for r in rules if not r.is_over(NOW_MS) and covers(r.pattern, domain)]
    expected = max(fitting, key=lambda r: (r.pattern == domain, len(r.pattern)), default=None)
    assert RuleBook(rules).rule_for(domain, NOW_MS) == expected
    assert RuleBook(reversed(rules)).rule_for(domain, NOW_MS) == expected


@given(RULES, PATTERN)
def test_setting_and_removing_a_rule_touches_no_other(
    wanted: dict[str, int | None], pattern: str
) -> None:
    rules = [rule(each, expires_in=expires) for each, expires in wanted.items()]
    book, new = RuleBook(rules), rule(pattern, reason="new")
    with_it = book.with_rule(new, NO_PRECONDITION)
    assert isinstance(with_it, RuleBook)
    others = [r for r in book.page("", 99) if r.pattern != pattern]
    assert [r for r in with_it.page("", 99) if r.pattern != pattern] == others
    assert with_it.get(new.pattern) == new
    without = with_it.without(new.pattern, NO_PRECONDITION)
    assert isinstance(without, RuleBook)
    assert without.page("", 99) == others
    assert book.page("", 99) == sorted(rules, key=lambda r: r.pattern)


@given(RULES, st.integers(1, 4))
def test_pages_are_all_rules_in_order(wanted: dict[str, int | None], limit: int) -> None:
    book = RuleBook(rule(pattern) for pattern in wanted)
    found: list[PeerRule] = []
    while page := book.page(found[-1].pattern if found else "", limit):
        found += page
    assert [r.pattern for r in found] == sorted(wanted)


def test_of_two_who_saw_the_same_rule_one_changes_it() -> None:
    first = rule("xmpp.example.net", reason="first")
    tag = Precondition(match=(first.tag,))
    book = RuleBook([first]).with_rule(rule("xmpp.example.net", reason="second"), tag)
    assert isinstance(book, RuleBook)
    third = rule("xmpp.example.net", reason="third")
    assert book.with_rule(third, tag) is Unchanged.STALE
    assert book.without(XMPP, tag) is Unchanged.STALE


def test_conditions_know_whether_there_is_a_rule() -> None:
    new, book = rule("xmpp.example.net"), RuleBook()
    absent, present = Precondition(none_match=("*",)), Precondition(match=("*",))
    assert book.with_rule(new, present) is Unchanged.STALE
    assert book.without(XMPP, present) is Unchanged.STALE
    assert book.without(XMPP, NO_PRECONDITION) is Unchanged.MISSING
    with_it = book.with_rule(new, absent)
    assert isinstance(with_it, RuleBook)
    assert with_it.with_rule(new, absent) is Unchanged.STALE
    assert isinstance(with_it.with_rule(new, present), RuleBook)


def test_tag_changes_with_every_part_of_a_rule() -> None:
    rules = [
        rule("a.example"),
        rule("b.example"),
        rule("a.example", action=Action.DENY),
        rule("a.example", require_encryption=True),
        rule("a.example", evidence=frozenset({Evidence.KEY})),
        rule("a.example", pins=frozenset({"0" * 64})),
        rule("a.example", reason="x"),
        rule("a.example", expires_in=1),
    ]
    assert len({each.tag for each in rules}) == len(rules)
    assert rule("a.example").tag == rules[0].tag


def test_rules_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_book_module, "MAX_RULES", 2)
    book = RuleBook([rule("a.example"), rule("b.example")])
    assert book.with_rule(rule("c.example"), NO_PRECONDITION) is Unchanged.FULL
    assert isinstance(book.with_rule(rule("b.example", reason="x"), NO_PRECONDITION), RuleBook)


@pytest.mark.parametrize(
    ("field", "parts"),
    [
        ("evidence", {"evidence": frozenset()}),
        ("pins", {"pins": frozenset(f"{number:064x}" for number in range(9))}),
        ("reason", {"reason": "x" * 201}),
        ("reason", {"reason": "two\nlines"}),
        ("reason", {"reason": "\x1b[31mred"}),
        ("expires", {"expires_ms": 253_402_344_000_000}),
        ("action", {"action": Action.DENY, "require_encryption": True}),
        ("action", {"action": Action.DENY, "evidence": frozenset({Evidence.KEY})}),
        ("action", {"action": Action.DENY, "pins": frozenset({"0" * 64})}),
    ],
)
def test_rule_that_cannot_be_meant_is_refused(field: str, parts: dict[str, object]) -> None:
    with pytest.raises(InvalidValue) as refused:
        rule("example.net", **parts)
    assert refused.value.field == field
