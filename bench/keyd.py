"""The key service through its socket: pairs of issue and verify, journal on.

    python -m bench.keyd [--quick] [--json FILE]

Beside it, in the same run and on the same core, a Prosody that answers `db:verify` natively.
A pair of ours is two requests, each of which is written to the disk before its answer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import uvloop

from bench.contenders import Cores
from bench.dns import WildcardDns
from bench.keyd_load import BenchedKeyd, PairStream, run_pairs, triples
from bench.outbound import IssuedKey
from bench.sample import Sample, measured
from bench.verify import VerifyLoad
from sidecar.keys.dialback_key import KeyMaker, key_message
from sidecar.lab.addresses import fresh_address
from sidecar.lab.directory import throwaway_directory
from sidecar.lab.faults import LabError
from sidecar.lab.prosody import Prosody
from sidecar.lab.prosody_config import ProsodySettings

_NATIVE_SECRET = "secret of the benchmark"
_NATIVE_DOMAIN = "native.example"
_DOMAINS = 10_000
_FEW_DOMAINS = 100
_ELSEWHERE = 100_000_000
OURS, THEIRS = "keyd", "Prosody"


@dataclass(frozen=True)
class Scale:
    """Pairs in one run at each number outstanding, rounds, and the sizes the ledger grows to."""

    pairs: dict[int, int]
    rounds: int
    entries: tuple[int, ...]


FULL = Scale({1: 2_000, 64: 20_000}, 5, (1_000, 30_000, 1_000_000))
QUICK = Scale({1: 200, 64: 1_000}, 1, (1_000, 5_000))


@dataclass
class Measured:
    """Everything one run of the benchmark found; `by_entries` is what the ledger held before."""

    beside: dict[str, dict[int, list[Sample]]] = field(default_factory=dict)
    by_entries: dict[int, Sample] = field(default_factory=dict)
    resident_mib: dict[int, float] = field(default_factory=dict)
    clean_start_seconds: float = 0.0
    killed_start_seconds: float = 0.0


async def measure(scale: Scale) -> Measured:
    """Let both take turns, then fill the ledger of another keyd and start it again."""
    found = Measured()
    cores = Cores.choose(together=False)
    os.sched_setaffinity(0, {cores.load})
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(throwaway_directory())
        dns = await stack.enter_async_context(WildcardDns(fresh_address()))
        settings = ProsodySettings(
            hosts=[_NATIVE_DOMAIN],
            options={"dialback_secret": _NATIVE_SECRET},
            tls=False,
            log_level="warn",
        )
        native = Prosody(settings, directory=directory / "native", dns=dns, publish=False)
        await stack.enter_async_context(native)
        os.sched_setaffinity(native.pid, {cores.server})
        async with _keyd(directory / "beside", cores.server) as (keyd, stream):
            fresh = triples(_DOMAINS, 0)
            await run_pairs(stream, fresh, _DOMAINS, 64)
            for number in range(1, scale.rounds + 1):
                print(f"round {number} of {scale.rounds}", file=sys.stderr, flush=True)
                await _take_turns(scale, native, keyd, stream, fresh, found)
        async with _keyd(directory / "growing", cores.server) as (keyd, stream):
            await _grow(scale, keyd, stream, found)
            keyd.stop()
            found.clean_start_seconds = await keyd.start(cores.server)
            keyd.stop(kill=True)
            found.killed_start_seconds = await keyd.start(cores.server)
    return found


@asynccontextmanager
async def _keyd(directory: Path, core: int) -> AsyncIterator[tuple[BenchedKeyd, PairStream]]:
    directory.mkdir()
    keyd = BenchedKeyd(directory)
    try:
        await keyd.start(core)
        async with keyd.stream() as stream:
            yield keyd, stream
    finally:
        keyd.stop()


async def _take_turns(
    scale: Scale,
    native: Prosody,
    keyd: BenchedKeyd,
    stream: PairStream,
    fresh: Iterator[tuple[str, str, str]],
    found: Measured,
) -> None:
    for window, count in scale.pairs.items():
        ours = await measured(
            {"server": keyd.pid}, partial(run_pairs, stream, fresh, count, window)
        )
        theirs = await _verify_natively(native, count, window)
        for name, sample in ((OURS, ours), (THEIRS, theirs)):
            found.beside.setdefault(name, {}).setdefault(window, []).append(sample)


async def _verify_natively(server: Prosody, count: int, window: int) -> Sample:
    """`db:verify` requests over one stream, about keys that are right."""
    maker = KeyMaker(_NATIVE_SECRET.encode())
    target = "v0.load.test"
    keys = []
    for number in range(count):
        message = key_message(_NATIVE_DOMAIN, target, f"s{number}")
        triple = (_NATIVE_DOMAIN.encode(), target.encode(), f"s{number}".encode())
        keys.append(IssuedKey(*triple, maker.key(message).encode()))
    load = await VerifyLoad.connect(
        None,
        sender="load.test",
        target=_NATIVE_DOMAIN,
        address=server.address,
        port=server.s2s_port,
        streams=1,
        outstanding=window,
    )
    try:
        return await measured({"server": server.pid}, partial(load.run, keys))
    finally:
        load.close()


async def _grow(scale: Scale, keyd: BenchedKeyd, stream: PairStream, found: Measured) -> None:
    """Fill the ledger up to each size and measure there; at the last with many sender domains."""
    fresh = triples(_FEW_DOMAINS, 0)
    held = 0
    for entries in scale.entries:
        print(f"{entries} entries", file=sys.stderr, flush=True)
        await run_pairs(stream, fresh, entries - held, 64, verify=False)
        count = min(entries, scale.pairs[64])
        sample = await measured({"server": keyd.pid}, partial(run_pairs, stream, fresh, count, 64))
        found.by_entries[entries] = sample
        found.resident_mib[entries] = keyd.resident_mib()
        held = entries + count
    await run_pairs(stream, triples(_DOMAINS, _ELSEWHERE), _DOMAINS, 64, verify=False)
    found.resident_mib[held + _DOMAINS] = keyd.resident_mib()


MEASURES: dict[str, Callable[[Sample], float]] = {
    "rate, /s": lambda sample: sample.rate,
    "p50, ms": lambda sample: sample.p50_seconds * 1e3,
    "p99, ms": lambda sample: sample.p99_seconds * 1e3,
    "CPU, µs each": lambda sample: sample.cpu_each("server") * 1e6,
}


def report(found: Measured) -> Iterator[str]:
    """The lines of the report. Ratios are taken within a round; their median is shown."""
    for window in found.beside[OURS]:
        ours, theirs = found.beside[OURS][window], found.beside[THEIRS][window]
        heading = f"{window} outstanding"
        yield f"{heading:24}{'keyd, pairs':>16}{'Prosody, verifies':>20}   ratio"
        for name, of in MEASURES.items():
            ratio = statistics.median(of(a) / of(b) for a, b in zip(ours, theirs, strict=True))
            mine, native = (statistics.median(map(of, samples)) for samples in (ours, theirs))
            yield f"  {name:22}{mine:16.2f}{native:20.2f}{ratio:8.2f}"
    yield "live entries             CPU, µs a pair    resident, MiB"
    for entries, mib in found.resident_mib.items():
        sample = found.by_entries.get(entries)
        cpu = f"{sample.cpu_each('server') * 1e6:.1f}" if sample else f"({_DOMAINS} domains)"
        yield f"  {entries:<22}{cpu:>15}{mib:16.1f}"
    yield f"start at that size: {found.clean_start_seconds:.2f} s after a clean stop,"
    yield f"                    {found.killed_start_seconds:.2f} s after SIGKILL"


def main() -> int:
    """Run, print the report, return the exit status: 1 when anything failed."""
    parser = argparse.ArgumentParser(prog="bench.keyd", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few pairs: does it work at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    arguments = parser.parse_args()
    try:
        found = uvloop.run(measure(QUICK if arguments.quick else FULL))
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print("\n".join(report(found)))
    if arguments.json is not None:
        machine = {"machine": platform.platform(), "cores": os.cpu_count()}
        arguments.json.write_text(json.dumps(machine | asdict(found), indent=1) + "\n")
    samples = [s for by in found.beside.values() for ss in by.values() for s in ss]
    return int(any(sample.failed for sample in [*samples, *found.by_entries.values()]))


if __name__ == "__main__":
    sys.exit(main())
