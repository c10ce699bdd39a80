"""All rules, and which one of them is about a peer."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from sidecar.names import Domain
from sidecar.peer_policy.pattern import PeerPattern, patterns_of
from sidecar.peer_policy.rule import PeerRule
from sidecar.preconditions import Precondition

MAX_RULES = 10_000


class Unchanged(enum.Enum):
    """Why a rule was not set or not removed. `STALE`: it is not what the condition says."""

    STALE = "stale"
    MISSING = "missing"
    FULL = "full"


class RuleBook:
    """An immutable set of rules, one for each pattern."""

    def __init__(self, rules: Iterable[PeerRule] = ()) -> None:
        self._rules: dict[str, PeerRule] = {
            rule.pattern: rule for rule in sorted(rules, key=lambda rule: rule.pattern)
        }

    def rule_for(self, domain: Domain, now_ms: int) -> PeerRule | None:
        """The rule that decides: the most specific one that has not expired."""
        if not self._rules:
            return None
        for pattern in patterns_of(domain):
            rule = self._rules.get(pattern)
            if rule is not None and not rule.is_over(now_ms):
                return rule
        return None

    def get(self, pattern: PeerPattern) -> PeerRule | None:
        """The rule with just this pattern, expired or not."""
        return self._rules.get(pattern)

    def with_rule(self, rule: PeerRule, condition: Precondition) -> RuleBook | Unchanged:
        """This book with `rule` in the place of the one with its pattern."""
        if not condition.holds(self._tag(rule.pattern)):
            return Unchanged.STALE
        if rule.pattern not in self._rules and len(self) >= MAX_RULES:
            return Unchanged.FULL
        return RuleBook((self._rules | {rule.pattern: rule}).values())

    def without(self, pattern: PeerPattern, condition: Precondition) -> RuleBook | Unchanged:
        """This book without the rule with this pattern."""
        if not condition.holds(self._tag(pattern)):
            return Unchanged.STALE
        if pattern not in self._rules:
            return Unchanged.MISSING
        return RuleBook(rule for rule in self._rules.values() if rule.pattern != pattern)

    def page(self, after: str, limit: int) -> list[PeerRule]:
        """Up to `limit` rules in order of their patterns, those after `after`."""
        return [rule for pattern, rule in self._rules.items() if pattern > after][:limit]

    def _tag(self, pattern: PeerPattern) -> str | None:
        rule = self._rules.get(pattern)
        return None if rule is None else rule.tag

    def __len__(self) -> int:
        return len(self._rules)
