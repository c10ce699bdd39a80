"""What can go wrong that is not an outcome.

Outcomes (valid, invalid, error with a condition) are values, see `sidecar.jobs`.
The exceptions are for everything else. These cross layers; what only one part raises and its
own caller handles stands beside that part, below SidecarError as well:

    SidecarError
    ├── InvalidValue       a text that is no domain, stream ID, key, ... (names the field)
    ├── ConfigError        a configuration that cannot be used; lists every problem
    ├── StreamViolation    a peer broke RFC 6120 or XEP-0220; fatal for its stream
    ├── KeyRefused         the key service will not issue this key (a cap)
    └── Outage             a part of ours is missing; answered with `error`, never `invalid`
        ├── KeyServiceUnavailable
        └── PolicyUnavailable
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def shorten(text: str, limit: int = 60) -> str:
    """Return `repr` of foreign text, cut to `limit` characters, for use in a message."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


class SidecarError(Exception):
    """Root of the tree."""


class InvalidValue(SidecarError):
    """A text that cannot become the value its `field` asks for."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration, with its place (`link[1].secret_file`)."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class ConfigError(SidecarError):
    """Everything that is wrong with one configuration file, in one exception."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        noun = "problem" if len(self.problems) == 1 else "problems"
        lines = [f"{source}: {len(self.problems)} {noun}"]
        lines += [f"  {problem}" for problem in self.problems]
        super().__init__("\n".join(lines))


class StreamViolation(SidecarError):
    """A peer's bytes that end its stream, with the stream error of RFC 6120 §4.9.3."""

    def __init__(self, condition: str, text: str) -> None:
        super().__init__(f"{condition}: {text}")
        self.condition = condition
        self.text = text


class Outage(SidecarError):
    """A part of ours that cannot answer now. Callers turn it into an `error` verdict."""


class KeyServiceUnavailable(Outage):
    """dialback-keyd is not there, does not answer in time, or answered with a fault."""


class PolicyUnavailable(Outage):
    """The rules about peers cannot be read, or not be written."""


class KeyRefused(SidecarError):
    """dialback-keyd will not issue a key here (a cap is reached); `reason` is a stable code."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
