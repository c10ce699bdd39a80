"""What a certificate lacks: stable reason codes."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Flaw(enum.Enum):
    """Why a peer's certificate does not prove its domain."""

    NONE_SHOWN = "certificate-none"
    NOT_ENCRYPTED = "certificate-no-tls"
    UNREADABLE = "certificate-unreadable"
    EXPIRED = "certificate-expired"
    NOT_YET_VALID = "certificate-not-yet-valid"
    WRONG_NAME = "certificate-wrong-name"
    SELF_SIGNED = "certificate-self-signed"
    INTERMEDIATE_MISSING = "certificate-intermediate-missing"
    UNTRUSTED = "certificate-untrusted"
    REFUSED = "certificate-refused"


@dataclass(frozen=True, slots=True)
class Flawed:
    """One flaw, with details for the log."""

    flaw: Flaw
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.flaw.value}: {self.detail}" if self.detail else self.flaw.value
