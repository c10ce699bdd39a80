"""How a benchmark is to be run: so many rounds, or fewer when the time is over."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

STREAMS = ("cleartext", "TLS")


@dataclass(frozen=True)
class Run:
    """What is asked for; each benchmark takes of it what it knows.

    `seconds` is how long one benchmark of one server may go on beginning rounds. `quick` runs
    ask whether it works at all: their numbers mean nothing.
    """

    rounds: int
    seconds: float
    quick: bool = False
    servers: Sequence[str] = ("prosody", "ejabberd")
    streams: Sequence[str] = STREAMS
    nagle: bool = False
    generational: bool = False
    together: bool = False

    def each_round(self) -> Iterator[int]:
        """The numbers of the rounds, from 1; the next begins only where there is time for it."""
        begun = time.monotonic()
        for number in range(1, self.rounds + 1):
            elapsed = time.monotonic() - begun
            if number > 1 and elapsed + elapsed / (number - 1) > self.seconds:
                print(f"out of time after {number - 1} rounds", file=sys.stderr, flush=True)
                return
            print(f"round {number} of {self.rounds}", file=sys.stderr, flush=True)
            yield number
