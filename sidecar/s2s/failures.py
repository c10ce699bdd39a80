"""Why a check failed: stable reason codes, each with its condition of XEP-0220 §2.5."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from sidecar.jobs import Condition, Verdict
from sidecar.peer_policy.terms import PIN_MISMATCH


class Reason(enum.Enum):
    """In the order in which a check gets there: of several failures the last one counts."""

    # the request itself
    SENDER_REFUSED = "sender-refused", Condition.NOT_ACCEPTABLE
    TOO_MANY_CHECKS = "too-many-checks", Condition.RESOURCE_CONSTRAINT
    CHECK_FAILED = "check-failed", Condition.INTERNAL_SERVER_ERROR
    # DNS: only a definite "there is none" means not found
    DNS_UNREACHABLE = "dns-unreachable", Condition.REMOTE_SERVER_TIMEOUT
    DNS_TIMEOUT = "dns-timeout", Condition.REMOTE_SERVER_TIMEOUT
    DNS_SERVFAIL = "dns-servfail", Condition.REMOTE_SERVER_TIMEOUT
    DNS_NO_SERVICE = "dns-no-service", Condition.REMOTE_SERVER_NOT_FOUND
    DNS_NO_ADDRESS = "dns-no-address", Condition.REMOTE_SERVER_NOT_FOUND
    # TCP
    ADDRESS_REFUSED = "address-refused", Condition.REMOTE_CONNECTION_FAILED
    ADDRESS_BUSY = "address-busy", Condition.RESOURCE_CONSTRAINT
    CONNECT_UNREACHABLE = "connect-unreachable", Condition.REMOTE_CONNECTION_FAILED
    CONNECT_TIMEOUT = "connect-timeout", Condition.REMOTE_CONNECTION_FAILED
    CONNECT_REFUSED = "connect-refused", Condition.REMOTE_CONNECTION_FAILED
    # the stream, before it is open
    STREAM_TIMEOUT = "stream-timeout", Condition.REMOTE_SERVER_TIMEOUT
    STREAM_CLOSED = "stream-closed", Condition.REMOTE_SERVER_TIMEOUT
    TLS_FAILED = "tls-failed", Condition.REMOTE_SERVER_TIMEOUT
    TLS_MISSING = "tls-missing", Condition.REMOTE_SERVER_TIMEOUT
    STREAM_VIOLATION = "stream-violation", Condition.REMOTE_SERVER_TIMEOUT
    STREAM_ERROR = "stream-error", Condition.REMOTE_SERVER_TIMEOUT
    DIALBACK_NOT_OFFERED = "dialback-not-offered", Condition.NOT_ACCEPTABLE
    HOST_UNKNOWN = "host-unknown", Condition.REMOTE_SERVER_NOT_FOUND
    EVIDENCE_MISSING = "evidence-missing", Condition.NOT_AUTHORIZED
    PIN_MISMATCH = PIN_MISMATCH, Condition.NOT_AUTHORIZED
    # after the question: "an error in step 3" (XEP-0220 §2.5)
    ANSWER_TIMEOUT = "answer-timeout", Condition.REMOTE_SERVER_TIMEOUT
    ANSWER_MISSING = "answer-missing", Condition.REMOTE_SERVER_TIMEOUT
    ANSWER_ERROR = "answer-error", Condition.REMOTE_SERVER_NOT_FOUND
    ANSWER_NOT_FOUND = "answer-item-not-found", Condition.REMOTE_SERVER_NOT_FOUND

    def __init__(self, code: str, condition: Condition) -> None:
        self.code = code
        self.condition = condition


_ORDER = {reason: place for place, reason in enumerate(Reason)}


@dataclass(frozen=True, slots=True)
class Failure:
    """A reason, and details for the log (never key text)."""

    reason: Reason
    detail: str = ""

    @property
    def verdict(self) -> Verdict:
        return Verdict.error(self.reason.condition, self.reason.code, self.detail)

    def __str__(self) -> str:
        return f"{self.reason.code}: {self.detail}" if self.detail else self.reason.code


def furthest(one: Failure | None, other: Failure) -> Failure:
    """Return the failure that came further, the later one where they are equal."""
    if one is None or _ORDER[other.reason] >= _ORDER[one.reason]:
        return other
    return one
