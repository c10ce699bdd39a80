"""The checker alone, in a process of its own on one core: does checks and says how long they took.

Reads one JSON object from standard input (`Task`), writes a sample as JSON.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from pathlib import Path

import msgspec
import uvloop

from bench.sample import Sample, repeat
from sidecar.jobs import Check, Outcome
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.s2s.address_budget import DialLimits
from sidecar.s2s.checker import Checker
from sidecar.s2s.evidence import Certificates
from sidecar.s2s.resolver import Resolver

_WARM_UP = 50


class Task(msgspec.Struct):
    """`count` checks of ever new domains under `zone`, `at_once` of them at a time."""

    core: int
    nameserver: str
    zone: str
    trusted: str
    idle_seconds: float
    count: int
    at_once: int


async def run(task: Task) -> Sample:
    """Do the checks; each has to come out valid."""
    checker = Checker(
        Resolver([task.nameserver]),
        certificates=Certificates(Path(task.trusted)),
        allow_private_addresses=True,
        dials=DialLimits.lasting(1_000_000),
        idle_seconds=task.idle_seconds,
    )
    target = Domain.parse("target.example")

    async def once() -> float:
        start = time.perf_counter()
        sender = Domain.parse(f"d{secrets.token_hex(6)}.{task.zone}")
        verdict = await checker.check(
            Check(
                pair=DomainPair(sender=sender, target=target),
                stream=StreamId.parse(secrets.token_hex(8)),
                key=DialbackKey.parse(secrets.token_hex(32)),
                ip="192.0.2.1",
            )
        )
        if verdict.outcome is not Outcome.VALID:
            raise ConnectionError(f"expected a valid key, got {verdict}")
        return time.perf_counter() - start

    await repeat(once, count=_WARM_UP, at_once=task.at_once)
    cpu = time.process_time()
    sample = await repeat(once, count=task.count, at_once=task.at_once)
    sample.cpu_seconds = {"checker": time.process_time() - cpu}
    await checker.close()
    return sample


def main() -> None:
    """Do the task on standard input."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    os.sched_setaffinity(0, {task.core})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sample = runner.run(run(task))
    sys.stdout.buffer.write(msgspec.json.encode(sample))


if __name__ == "__main__":
    main()
