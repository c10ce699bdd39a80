"""A table of states at work: from state and input to the next state."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from typing import TypeVar

from sidecar.errors import StreamViolation

S = TypeVar("S", bound=enum.Enum)
I = TypeVar("I", bound=enum.Enum)  # noqa: E741


def follow(table: Mapping[tuple[S, I], S], state: S, received: I, *, misuse: Collection[I]) -> S:
    """The state after `received`. What is not in the table is the peer's violation and raises
    StreamViolation; of the inputs in `misuse`, which are our own, it raises ValueError."""
    try:
        return table[state, received]
    except KeyError:
        if received in misuse:
            raise ValueError(f"{received.name} in {state.name}") from None
        raise StreamViolation(
            "unsupported-stanza-type", f"expected no {received.name} in {state.name}"
        ) from None
