"""What an operator has decided about peers: rules, which of them applies, what it asks for."""

from sidecar.peer_policy.pattern import PeerPattern
from sidecar.peer_policy.rule import Action, PeerRule
from sidecar.peer_policy.rule_book import RuleBook, Unchanged
from sidecar.peer_policy.terms import (
    CERTIFICATE_WANTED,
    Terms,
    refuse_check,
    refuse_issue,
    refuse_shown,
    terms_of,
)

__all__ = [
    "CERTIFICATE_WANTED",
    "Action",
    "PeerPattern",
    "PeerRule",
    "RuleBook",
    "Terms",
    "Unchanged",
    "refuse_check",
    "refuse_issue",
    "refuse_shown",
    "terms_of",
]
