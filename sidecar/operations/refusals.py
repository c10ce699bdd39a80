"""Why an operation is not done: stable codes, and what kind each is. Front ends translate kinds."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from sidecar.errors import SidecarError


class RefusalKind(enum.Enum):
    INPUT = "input"
    UNKNOWN_CALLER = "unknown-caller"
    FORBIDDEN = "forbidden"
    MISSING = "missing"
    CONFLICT = "conflict"
    STALE = "stale"
    UNPROCESSABLE = "unprocessable"
    BUSY = "busy"
    OUTAGE = "outage"


REFUSALS: Mapping[str, tuple[RefusalKind, str]] = {
    "invalid-input": (RefusalKind.INPUT, "The request is not what this operation takes"),
    "token-missing": (RefusalKind.UNKNOWN_CALLER, "A token is needed"),
    "token-unknown": (RefusalKind.UNKNOWN_CALLER, "There is no such token"),
    "token-expired": (RefusalKind.UNKNOWN_CALLER, "The token has expired"),
    "token-revoked": (RefusalKind.UNKNOWN_CALLER, "The token was revoked"),
    "scope-missing": (RefusalKind.FORBIDDEN, "The token does not have the scope for this"),
    "scope-not-yours": (RefusalKind.FORBIDDEN, "The token opens less than that"),
    "expiry-not-yours": (RefusalKind.FORBIDDEN, "The token expires sooner than that"),
    "keys-not-issued": (RefusalKind.FORBIDDEN, "Keys of that domain are not issued here"),
    "peer-refused": (RefusalKind.FORBIDDEN, "A rule about the peer refuses that"),
    "too-many-keys": (RefusalKind.BUSY, "Too many keys are live: try again in a minute"),
    "domain-not-permitted": (RefusalKind.FORBIDDEN, "The token is for other domains"),
    "no-such-domain": (RefusalKind.MISSING, "That domain has no secret"),
    "no-such-version": (RefusalKind.MISSING, "There is no such version, or its secret is gone"),
    "no-such-handshake": (RefusalKind.MISSING, "There is no such handshake in the history"),
    "no-such-rule": (RefusalKind.MISSING, "There is no rule for just that"),
    "no-such-token": (RefusalKind.MISSING, "There is no such token, or it was revoked"),
    "too-many-retired": (RefusalKind.CONFLICT, "Too many versions wait for their last key"),
    "too-many-rules": (RefusalKind.CONFLICT, "There are too many rules about peers"),
    "too-many-tokens": (RefusalKind.CONFLICT, "There are too many tokens"),
    "precondition-failed": (RefusalKind.STALE, "It is not what the condition says any more"),
    "told-once": (RefusalKind.CONFLICT, "This was done, and its answer is told only once"),
    "repeat-key-reused": (
        RefusalKind.UNPROCESSABLE,
        "This Idempotency-Key was used for another request",
    ),
    "end-too-far": (RefusalKind.UNPROCESSABLE, "An imported secret lasts at most 30 days"),
    "not-our-domain": (RefusalKind.UNPROCESSABLE, "No link speaks for that domain"),
    "too-many-probes": (RefusalKind.BUSY, "Other probes are running: try again in a moment"),
    "config-invalid": (RefusalKind.UNPROCESSABLE, "The configuration file cannot be used"),
    "key-service-unavailable": (RefusalKind.OUTAGE, "The key service does not answer"),
    "policy-unavailable": (
        RefusalKind.OUTAGE,
        "The rules about peers cannot be read or written",
    ),
    "history-unavailable": (RefusalKind.OUTAGE, "The history cannot be read"),
}


class Refusal(SidecarError):
    """An operation that was not done. `more` are further facts, by name."""

    def __init__(self, code: str, detail: str = "", **more: object) -> None:
        assert code in REFUSALS, code
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail
        self.more = more

    @property
    def kind(self) -> RefusalKind:
        return REFUSALS[self.code][0]

    @property
    def title(self) -> str:
        return REFUSALS[self.code][1]
