"""Checks a second on one core, beside the inbound handshakes of a stock server in the same run.

    python -m bench.check [--quick] [--server prosody|ejabberd] [--json FILE]

A simulated authoritative server answers for ever new domains. The stock server does whole inbound
handshakes with them, the checker what of it is left to the sidecar: DNS, connection, verify. Both
have the same core, one after the other; the load has another. `reused` keeps streams open for
domains that the certificate covers as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path

import msgspec
import uvloop

from bench.check_worker import Task
from bench.contenders import Cores
from bench.inbound import Inbound
from bench.peers import INBOUND_ZONE, Peers, peers
from bench.sample import Sample, measured, repeat
from bench.servers import SERVERS, Request, Running
from bench.tls import Tls
from sidecar.lab.certificates import Authority
from sidecar.lab.directory import throwaway_directory
from sidecar.lab.faults import LabError

AT_ONCE = 32
_KINDS = {"checks": 0.0, "checks, streams reused": 30.0}


async def measure(
    server: str, *, tls: bool, cores: Cores, rounds: int, count: int
) -> dict[str, list[Sample]]:
    """Interleaved rounds: stock handshakes, checks, checks with reused streams."""
    found: dict[str, list[Sample]] = {}
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(throwaway_directory())
        authority = Authority()
        trusted = directory / "trusted.pem"
        trusted.write_bytes(authority.pem)
        contexts = Tls.shown(directory, authority.issue(f"*.{INBOUND_ZONE}")) if tls else None
        others = await stack.enter_async_context(peers(contexts))
        stock = await SERVERS[server](
            stack,
            Request(
                domain="native.example",
                bolted_on=False,
                directory=directory / "native",
                dns=others.dns,
                tls=tls,
                nagle=False,
                generational=False,
            ),
        )
        _pin(stock.pid, cores.server)
        os.sched_setaffinity(0, {cores.load})
        await _stock(stock, others.inbound, 40)
        for number in range(1, rounds + 1):
            print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
            sample = await _stock(stock, others.inbound, count)
            found.setdefault("stock inbound handshakes", []).append(sample)
            for name, idle_seconds in _KINDS.items():
                if idle_seconds and not tls:
                    continue  # a certificate has to cover the other domains
                sample = await _checks(others, trusted, cores.server, idle_seconds, 2 * count)
                found.setdefault(name, []).append(sample)
    return found


async def _stock(server: Running, inbound: Inbound, count: int) -> Sample:
    async def once() -> float:
        return await inbound.handshake(b"native.example", server.address, server.s2s_port)

    return await measured(
        {"server": server.pid}, lambda: repeat(once, count=count, at_once=AT_ONCE)
    )


async def _checks(
    others: Peers, trusted: Path, core: int, idle_seconds: float, count: int
) -> Sample:
    task = Task(
        core=core,
        nameserver=others.dns.nameserver,
        zone=INBOUND_ZONE,
        trusted=str(trusted),
        idle_seconds=idle_seconds,
        count=count,
        at_once=AT_ONCE,
    )
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.check_worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await worker.communicate(msgspec.json.encode(task))
    if worker.returncode:
        raise LabError(f"the checker ended with status {worker.returncode}")
    return msgspec.json.decode(output, type=Sample)


def _pin(pid: int, core: int) -> None:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def table(found: dict[str, list[Sample]]) -> list[str]:
    """Medians, and ratios to the stock server within each round."""
    base = found["stock inbound handshakes"]
    lines = [f"{'':28}{'rate, /s':>12}{'CPU, µs each':>16}{'p50, ms':>12}   rate to stock (range)"]
    for name, samples in found.items():
        ratios = [mine.rate / stock.rate for mine, stock in zip(samples, base, strict=True)]
        lines.append(
            f"{name:28}{statistics.median(s.rate for s in samples):12,.0f}"
            f"{statistics.median(s.cpu_all for s in samples) * 1e6:16,.0f}"
            f"{statistics.median(s.p50_seconds for s in samples) * 1e3:12.1f}"
            f"   {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    return lines


def main() -> int:
    """Run, print the table, return the exit status: 1 when anything failed."""
    parser = argparse.ArgumentParser(prog="bench.check", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few checks: does it work at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--rounds", type=int, help="rounds (5; quick: 1)")
    parser.add_argument("--server", choices=list(SERVERS), default="prosody")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    cores = Cores.choose(together=False)
    document = {}
    failed = False
    for tls in (False, True):
        try:
            found = uvloop.run(
                measure(
                    arguments.server,
                    tls=tls,
                    cores=cores,
                    rounds=rounds,
                    count=64 if arguments.quick else 500,
                )
            )
        except LabError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        print("in TLS" if tls else "on cleartext")
        print("\n".join(table(found)))
        document["tls" if tls else "cleartext"] = {
            name: [asdict(sample) for sample in samples] for name, samples in found.items()
        }
        failed |= any(sample.failed for samples in found.values() for sample in samples)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
