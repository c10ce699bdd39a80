"""One rule about peers, as an operator made it."""

from __future__ import annotations

import enum
import unicodedata
from dataclasses import dataclass

from sidecar.errors import InvalidValue
from sidecar.jobs import Evidence
from sidecar.peer_policy.pattern import PeerPattern
from sidecar.preconditions import entity_tag

MAX_PINS = 8
MAX_REASON = 200
_YEAR_9999_MS = 253_370_764_800_000


class Action(enum.Enum):
    """Whether dialback with a peer may succeed at all."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRule:
    """A rule decides alone: nothing is added from rules that are less specific.

    `evidence`: what may prove the peer's domain; None as the configuration says. `pins`: the
    public keys its certificates may hold, see `sidecar.pkix.pins`; empty for any. `reason` is the
    operator's own note. `expires_ms`, `changed_ms`: milliseconds since 1970; `changed_by`: the id
    of the token. Raises InvalidValue for what cannot be meant.
    """

    pattern: PeerPattern
    action: Action = Action.ALLOW
    require_encryption: bool = False
    evidence: frozenset[Evidence] | None = None
    pins: frozenset[str] = frozenset()
    reason: str = ""
    expires_ms: int | None = None
    changed_ms: int
    changed_by: str

    def __post_init__(self) -> None:
        if self.evidence is not None and not self.evidence:
            raise InvalidValue("evidence", "expected at least one, got none")
        if len(self.pins) > MAX_PINS:
            raise InvalidValue("pins", f"expected at most {MAX_PINS}, got {len(self.pins)}")
        if len(self.reason) > MAX_REASON or any(map(_is_control, self.reason)):
            raise InvalidValue("reason", f"expected up to {MAX_REASON} characters on one line")
        if self.expires_ms is not None and self.expires_ms >= _YEAR_9999_MS:
            raise InvalidValue("expires", "expected a time before the year 9999")
        asks = self.require_encryption or self.evidence is not None or self.pins
        if self.action is Action.DENY and asks:
            raise InvalidValue(
                "action", "a peer that is denied is asked for no encryption, evidence or pin"
            )

    @property
    def tag(self) -> str:
        """The entity tag of this state of the rule."""
        evidence = None if self.evidence is None else sorted(each.value for each in self.evidence)
        return entity_tag(
            (
                str(self.pattern),
                self.action.value,
                self.require_encryption,
                evidence,
                sorted(self.pins),
                self.reason,
                self.expires_ms,
                self.changed_ms,
                self.changed_by,
            )
        )

    def is_over(self, now_ms: int) -> bool:
        """Whether it has expired."""
        return self.expires_ms is not None and self.expires_ms <= now_ms


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
