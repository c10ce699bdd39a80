"""What dialback-sidecar and dialback-keyd say to each other.

A frame carries a batch of (id, request) or (id, reply); the id is the asker's, and each request
gets exactly one reply with its id. Requests hold text as it came: keyd checks every field again.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from sidecar.preconditions import Precondition

MAX_PER_FRAME = 128
"""More requests than this in one frame cost the sender its connection."""

MessageId = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]


class _Message(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One message: an array with its tag first. Its repr shows no field, hence no key."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class IssueKey(_Message, frozen=True, tag="issue"):
    """The key for this triple; the same again renews it."""

    sender: str
    target: str
    stream: str


class VerifyKey(_Message, frozen=True, tag="verify"):
    """Was this key issued by us for this triple?"""

    sender: str
    target: str
    stream: str
    key: str


class EndKey(_Message, frozen=True, tag="end"):
    """The stream is decided or gone: its key proves nothing from now on."""

    sender: str
    target: str
    stream: str


class JudgeKey(_Message, frozen=True, tag="judge"):
    """What is this key worth now? Uses nothing up."""

    sender: str
    target: str
    stream: str
    key: str


LedgerRequest = IssueKey | VerifyKey | EndKey


class ListVersions(_Message, frozen=True, tag="list-versions"):
    """The versions of one sender domain, or of the domains after `after` in order of name."""

    domain: str | None = None
    after: str = ""


PolicyField = Literal["rotate_ms", "max_entries"]


class GetPolicies(_Message, frozen=True, tag="get-policies"):
    """The key policies of these sender domains."""

    domains: list[str]


class ChangePolicy(_Message, frozen=True, tag="change-policy"):
    """Set what `changes` names of a sender domain's key policy; None is the default again."""

    domain: str
    changes: dict[PolicyField, int | None]
    precondition: Precondition


class RotateSecret(_Message, frozen=True, tag="rotate-secret"):
    """Make a new version that issues from now on, for one sender domain, or for the next hundred
    after `after` in order of name."""

    domain: str | None = None
    after: str = ""


class RevokeSecret(_Message, frozen=True, tag="revoke-secret"):
    """Nothing issued under this version verifies from the answer on; None is the active one."""

    domain: str
    number: int | None = None


class ImportSecret(_Message, frozen=True, tag="import-secret"):
    """Trust keys under this secret without the ledger, for so many seconds.

    With `issue` it becomes the active version too: keys that we issue verify natively elsewhere.
    """

    domain: str
    secret: bytes
    seconds: int
    issue: bool = False


class RotateKek(_Message, frozen=True, tag="rotate-kek"):
    """Seal everything under a new key-encryption key."""


class GetStatus(_Message, frozen=True, tag="get-status"):
    pass


class Backup(_Message, frozen=True, tag="backup"):
    """Write a consistent copy of the secret store, still sealed, to a file that does not exist."""

    path: str


SecretAction = RotateSecret | RevokeSecret | ImportSecret


class DryRun(_Message, frozen=True, tag="dry-run"):
    """Do nothing, and answer what `request` would do."""

    request: SecretAction


PolicyRequest = GetPolicies | ChangePolicy
SecretRequest = ListVersions | SecretAction
AdminRequest = SecretRequest | PolicyRequest | JudgeKey | RotateKek | GetStatus | Backup


class CreateToken(_Message, frozen=True, tag="create-token"):
    """Make an API token with these scopes, for all sender domains or for some; None: for ever."""

    name: str
    scopes: list[str]
    domains: list[str] | None = None
    seconds: int | None = None


class ListTokens(_Message, frozen=True, tag="list-tokens"):
    """Every token that was not revoked long ago; never the token itself."""


class RevokeToken(_Message, frozen=True, tag="revoke-token"):
    """The token of this id opens nothing from the answer on."""

    id: str


TokenRequest = CreateToken | ListTokens | RevokeToken
BearerRequest = SecretRequest | PolicyRequest | JudgeKey | GetStatus | TokenRequest
"""What a token can open."""


class AsBearer(_Message, frozen=True, tag="as-bearer"):
    """A request of whoever bears `token`, which keyd itself checks.

    With `dry_run` nothing is done, and the answer says what would be. The same `repeat_key` of the
    same token again does nothing again and gets the first answer.
    """

    token: str
    request: BearerRequest
    dry_run: bool = False
    repeat_key: str | None = None


class WhoBears(_Message, frozen=True, tag="who-bears"):
    """What does this token open?"""

    token: str


Question = AdminRequest | DryRun | TokenRequest | AsBearer | WhoBears
"""What operators ask, answered one at a time; requests for keys are answered in batches."""

Request = LedgerRequest | Question


class KeyIssued(_Message, frozen=True, tag="issued"):
    key: str


class Refused(_Message, frozen=True, tag="refused"):
    """No: a cap is reached, or there is nothing of that name; `reason` is a stable code."""

    reason: str


class Judged(_Message, frozen=True, tag="judged"):
    """What a key is worth; `reason` is a stable code for operators."""

    outcome: Literal["valid", "invalid", "error"]
    reason: str | None = None


class Done(_Message, frozen=True, tag="done"):
    pass


class Failed(_Message, frozen=True, tag="failed"):
    """keyd itself is in trouble, or does not allow this request here: an outage for the asker."""

    reason: str


class ListedVersion(_Message, frozen=True, tag="version"):
    """One version, without its secret. Times are milliseconds since 1970."""

    domain: str
    number: int
    kind: str
    state: str
    created_ms: int
    ends_ms: int | None
    revoked_ms: int | None
    removed_ms: int | None
    next_rotation_ms: int | None
    uses: int
    last_use_ms: int | None


class VersionList(_Message, frozen=True, tag="versions"):
    """`after` continues the list; None at its end."""

    versions: list[ListedVersion]
    after: str | None


class KeyPolicy(_Message, frozen=True, tag="policy"):
    """The key policy of a sender domain, and what of it is its own; `etag` stands for all that."""

    domain: str
    rotate_ms: int
    max_entries: int
    own_rotate: bool
    own_max_entries: bool
    etag: str


class PolicyList(_Message, frozen=True, tag="policies"):
    policies: list[KeyPolicy]


class Changed(_Message, frozen=True, tag="changed"):
    """How many versions were made or revoked, and the first of them: (domain, number).

    Of a revocation the version asked for comes after those that shared its secret; `successor` is
    the number of the version made in the place of the active one. `after` continues a rotation of
    all domains; None at its end.
    """

    count: int
    versions: list[tuple[str, int]]
    successor: int | None = None
    after: str | None = None


class Alarm(_Message, frozen=True, tag="alarm"):
    """Something an operator must know, how often it happened and when first and last."""

    code: str
    subject: str
    text: str
    count: int
    first_ms: int
    last_ms: int


class Status(_Message, frozen=True, tag="status"):
    """How keyd is. `judged` counts verdicts since its start by reason, or `valid`."""

    store_id: str
    domains: int
    versions: int
    stateless_versions: int
    live_keys: int
    judged: dict[str, int]
    next_rotation_ms: int | None
    kek_id: str
    rewrapping: bool
    memory_locked: bool
    now_ms: int
    alarms: list[Alarm]


class TokenFacts(_Message, frozen=True, tag="token"):
    """One API token but for the token. `domains` None: all. Times are ms since 1970."""

    id: str
    name: str
    scopes: list[str]
    domains: list[str] | None
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None
    last_use_ms: int | None


class TokenList(_Message, frozen=True, tag="tokens"):
    tokens: list[TokenFacts]


class TokenMade(_Message, frozen=True, tag="token-made"):
    """The only time the token itself is told."""

    token: str
    facts: TokenFacts


class Denied(_Message, frozen=True, tag="denied"):
    """The token does not open this: `token-unknown`, `-expired`, `-revoked`, `scope-missing`,
    `domain-not-permitted`, `scope-not-yours`, `expiry-not-yours`."""

    reason: str


AdminReply = (
    VersionList
    | KeyPolicy
    | PolicyList
    | Changed
    | Status
    | TokenList
    | TokenMade
    | TokenFacts
    | Denied
)
Reply = KeyIssued | Refused | Judged | Done | Failed | AdminReply
