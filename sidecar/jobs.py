"""The four jobs (issue, verify, check, report) and their verdicts, as values.

Requests come from the server's module over the component link, verdicts go back to it.
The conditions are those of XEP-0220 §2.5.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from sidecar.names import DialbackKey, DomainPair, StreamId


class Outcome(enum.Enum):
    """What became of a dialback key, with the words of XEP-0220's `type` attribute."""

    VALID = "valid"
    INVALID = "invalid"
    ERROR = "error"


class Condition(enum.Enum):
    """The stanza error conditions a dialback error can carry (XEP-0220 §2.5, RFC 6120 §8.3.3)."""

    BAD_REQUEST = "bad-request"
    FORBIDDEN = "forbidden"
    INTERNAL_SERVER_ERROR = "internal-server-error"
    ITEM_NOT_FOUND = "item-not-found"
    NOT_ACCEPTABLE = "not-acceptable"
    NOT_AUTHORIZED = "not-authorized"
    POLICY_VIOLATION = "policy-violation"
    REMOTE_CONNECTION_FAILED = "remote-connection-failed"
    REMOTE_SERVER_NOT_FOUND = "remote-server-not-found"
    REMOTE_SERVER_TIMEOUT = "remote-server-timeout"
    RESOURCE_CONSTRAINT = "resource-constraint"


class Evidence(enum.Enum):
    """What convinced us that a peer speaks for its sender domain."""

    CERTIFICATE = "certificate"  # an authority says so (XEP-0344 §2.5)
    SAME_CERTIFICATE = "same-certificate"  # in both directions (XEP-0344 §2.6)
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a check: begun so many seconds after it, `reason` only where it failed."""

    name: str
    begun_seconds: float
    seconds: float
    detail: str = ""
    reason: str | None = None

    def __str__(self) -> str:
        said = " ".join(part for part in (self.reason, self.detail) if part)
        return f"{self.name} {self.seconds * 1000:.1f} ms{f' ({said})' if said else ''}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to `verify` and `check`, and to an `issue` that got no key.

    `reason` is a stable code for logs and operators (`dns-no-service`); it never goes to peers.
    `detail` is for our own log alone and may quote the peer; so are the `steps` of a check.
    """

    outcome: Outcome
    condition: Condition | None = None
    evidence: Evidence | None = None
    reason: str | None = None
    detail: str = field(default="", compare=False)
    steps: tuple[Step, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if (self.outcome is Outcome.ERROR) != (self.condition is not None):
            raise ValueError("an error verdict, and no other, carries a condition")

    @classmethod
    def valid(cls, evidence: Evidence | None = None, detail: str = "") -> Verdict:
        return cls(Outcome.VALID, evidence=evidence, detail=detail)

    @classmethod
    def invalid(cls, reason: str) -> Verdict:
        return cls(Outcome.INVALID, reason=reason)

    @classmethod
    def error(cls, condition: Condition, reason: str, detail: str = "") -> Verdict:
        return cls(Outcome.ERROR, condition=condition, reason=reason, detail=detail)


EXTERNAL = ("refused", "not-offered", "unused")
"""Why SASL EXTERNAL did not do: it was tried and refused; the receiving side did not offer it; it
was offered and the initiating side did not try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """Our server is about to send `db:result`: which key? (XEP-0220 §2.1.1)

    `stream` is the ID the peer gave that stream. `certificate` is the peer's leaf, DER; with
    `certificate_on_demand` our server left it out, and asks again with it where it is wanted.
    `external` says what became of SASL EXTERNAL before (see `EXTERNAL`), None where it was out of
    question.
    """

    pair: DomainPair
    stream: StreamId
    encrypted: bool = False
    ip: str | None = None
    certificate: bytes | None = None
    certificate_on_demand: bool = False
    external: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """A peer asks whether a key is ours (XEP-0220 §2.2.2)."""

    pair: DomainPair
    stream: StreamId
    key: DialbackKey
    ip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A peer presented a key to our server: does it speak for its domain? (XEP-0220 §2.1.2)

    `stream` is the ID our server gave that stream. `certificates` is the peer's chain,
    leaf first, DER; `chain` what the server says of it. `require` names evidence without
    which the answer must not be valid (`certificate`). `external` is as in `Issue`.
    """

    pair: DomainPair
    stream: StreamId
    key: DialbackKey
    encrypted: bool = False
    ip: str | None = None
    chain: str | None = None
    require: str | None = None
    certificates: tuple[bytes, ...] = ()
    external: str | None = None


class Role(enum.Enum):
    """The roles of XEP-0220 §1.2."""

    INITIATING = "initiating"
    RECEIVING = "receiving"
    AUTHORITATIVE = "authoritative"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedOutcome:
    """What our server learnt of one domain pair, or that its stream closed (`type='closed'`)."""

    role: Role
    mechanism: str
    pair: DomainPair
    stream: StreamId
    type: str


@dataclass(frozen=True, slots=True)
class Report:
    """A batch of outcomes; nothing is answered but that it arrived."""

    outcomes: tuple[ReportedOutcome, ...]


Job = Issue | Verify | Check | Report
