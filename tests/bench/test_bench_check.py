"""The parts of bench.check: the checker in its own process, and the table."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import pytest
import uvloop

from bench.check import table
from bench.check_worker import Task
from bench.peers import INBOUND_ZONE, peers
from bench.sample import Sample
from bench.tls import Tls
from sidecar.lab.certificates import Authority


@pytest.mark.parametrize("idle_seconds", [0.0, 30.0])
def test_worker_checks_domains_nobody_has_seen(idle_seconds: float, tmp_path: Path) -> None:
    sample = uvloop.run(_checks(idle_seconds, tmp_path))
    assert (sample.done, sample.failed) == (30, 0)
    assert sample.cpu_seconds["checker"] > 0


async def _checks(idle_seconds: float, tmp_path: Path) -> Sample:
    authority = Authority()
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.pem)
    tls = Tls.shown(tmp_path, authority.issue(f"*.{INBOUND_ZONE}"))
    async with peers(tls) as others:
        task = Task(
            core=min(os.sched_getaffinity(0)),
            nameserver=others.dns.nameserver,
            zone=INBOUND_ZONE,
            trusted=str(trusted),
            idle_seconds=idle_seconds,
            count=30,
            at_once=2,
        )
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.check_worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        output, _ = await worker.communicate(msgspec.json.encode(task))
    return msgspec.json.decode(output, type=Sample)


def sample(rate: float) -> Sample:
    return Sample(
        done=100,
        failed=0,
        seconds=100 / rate,
        p50_seconds=0.01,
        p99_seconds=0.02,
        cpu_seconds={"checker": 0.05},
    )


def test_table_compares_within_each_round() -> None:
    lines = table(
        {
            "stock inbound handshakes": [sample(100), sample(200)],
            "checks": [sample(300), sample(400)],
        }
    )
    assert lines[2].split()[-4:] == ["2.50", "(2.00", "to", "3.00)"]
    assert " 500 " in lines[2]
