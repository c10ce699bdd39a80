"""Checks a second on one core, beside the inbound handshakes of a stock server in the same run.

A simulated authoritative server answers for ever new domains. The stock server does whole inbound
handshakes with them, the checker what of it is left to the sidecar: DNS, connection, verify. Both
have the same core, one after the other; the load has another. With streams reused, they are kept
open for domains that the certificate covers as well.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from bench.check_worker import Task
from bench.comparison import CPU_OF_ALL, MEDIAN, RATE, Bound, Comparison, Line
from bench.contenders import Cores, pin
from bench.inbound import Inbound
from bench.loads import AT_ONCE
from bench.peers import INBOUND_ZONE, Peers, peers
from bench.run import Run
from bench.sample import Sample, measured, repeat
from bench.servers import SERVERS, Request, Running
from bench.tls import Tls
from sidecar.lab.certificates import Authority
from sidecar.lab.directory import throwaway_directory
from sidecar.lab.faults import LabError

_STOCK, _NEW, _REUSED = "inbound handshakes", "new streams", "streams reused"
_LOAD = f"checks, {AT_ONCE} at once"
_IDLE_SECONDS = {_NEW: 0.0, _REUSED: 30.0}


async def compare(run: Run) -> list[Comparison]:
    """Beside the stock server, and streams that are reused beside new ones."""
    found = []
    for stream in run.streams:
        samples = await _measure(run, run.servers[0], tls=stream == "TLS")
        stock = f"{run.servers[0]}'s inbound handshakes"
        lines = [Line(_LOAD, RATE, Bound(at_least=1)), Line(_LOAD, CPU_OF_ALL), Line(_LOAD, MEDIAN)]
        found.append(_comparison(stream, stock, _NEW, samples[_STOCK], samples[_NEW], lines))
        if _REUSED in samples:
            lines = [Line(_LOAD, RATE, Bound(at_least=1)), Line(_LOAD, CPU_OF_ALL)]
            found.append(_comparison(stream, _NEW, _REUSED, samples[_NEW], samples[_REUSED], lines))
    return found


def _comparison(
    stream: str,
    base_name: str,
    name: str,
    base: list[Sample],
    ours: list[Sample],
    lines: list[Line],
) -> Comparison:
    title = f"checks, {stream}"
    return Comparison(title, base_name, name, base={_LOAD: base}, ours={_LOAD: ours}, lines=lines)


async def _measure(run: Run, server: str, *, tls: bool) -> dict[str, list[Sample]]:
    """Interleaved rounds: stock handshakes, checks, checks with reused streams."""
    found: dict[str, list[Sample]] = {}
    cores = Cores.choose(together=False)
    count = 64 if run.quick else 500
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
        pin(stock.pid, cores.server)
        stack.enter_context(cores.load_alone())
        await _stock(stock, others.inbound, 40)
        for _ in run.each_round():
            found.setdefault(_STOCK, []).append(await _stock(stock, others.inbound, count))
            for name, idle_seconds in _IDLE_SECONDS.items():
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
