"""What a text has to look like, and how an operator is told."""

from __future__ import annotations

from collections.abc import Mapping

from sidecar.durations import PATTERN as DURATION

VISIBLE = "^[!-~]{1,256}$"
NAME = "^[ -~]{1,100}$"
TOKEN_ID = "^[0-9a-f]{1,32}$"  # noqa: S105 # no token
PIN = "^[0-9A-Fa-f]{64}$"
CURSOR = "^[0-9]{1,18}$"

IN_WORDS: Mapping[str, str] = {
    VISIBLE: "1 to 256 visible ASCII characters",
    NAME: "1 to 100 printable ASCII characters",
    TOKEN_ID: "the id of a token, 1 to 32 hex digits",
    PIN: "64 hex digits",
    CURSOR: "`next` of the page before",
    DURATION: "a time such as 30m, 12h or 7d",
}
"""What is expected of an input with that pattern; a pattern that is not here fails a test."""
