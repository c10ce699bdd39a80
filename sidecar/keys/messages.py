"""What dialback-sidecar and dialback-keyd say to each other.

A frame carries a batch of (id, request) or (id, reply); the id is the asker's, and each request
gets exactly one reply with its id. Requests hold text as it came: keyd checks every field again.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

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


LedgerRequest = IssueKey | VerifyKey | EndKey
Request = LedgerRequest


class KeyIssued(_Message, frozen=True, tag="issued"):
    key: str


class Refused(_Message, frozen=True, tag="refused"):
    """No key: a cap is reached."""

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


Reply = KeyIssued | Refused | Judged | Done | Failed
