"""The key service through its socket: pairs of issue and verify, journal on.

Beside it, in the same run and on the same core, a Prosody that answers `db:verify` natively.
A pair of ours is two requests, each of which is written to the disk before its answer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.comparison import MEDIAN, P99, RATE, Comparison, Line, cpu_of
from bench.contenders import Cores
from bench.dns import WildcardDns
from bench.keyd_load import BenchedKeyd, PairStream, run_pairs, triples
from bench.outbound import IssuedKey
from bench.run import Run
from bench.sample import Sample, measured
from bench.verify import VerifyLoad
from sidecar.keys.dialback_key import KeyMaker, key_message
from sidecar.lab.addresses import fresh_address
from sidecar.lab.directory import throwaway_directory
from sidecar.lab.prosody import Prosody
from sidecar.lab.prosody_config import ProsodySettings

_NATIVE_SECRET = "secret of the benchmark"
_NATIVE_DOMAIN = "native.example"
_DOMAINS = 10_000
_FEW_DOMAINS = 100
_ELSEWHERE = 100_000_000
_LOAD = "verdicts"
OURS, THEIRS = "keyd", "Prosody"


@dataclass(frozen=True)
class Scale:
    """Pairs in one run at each number outstanding, and the sizes the ledger grows to."""

    pairs: dict[int, int]
    entries: tuple[int, ...]


FULL = Scale({1: 2_000, 64: 20_000}, (1_000, 30_000, 1_000_000))
QUICK = Scale({1: 200, 64: 1_000}, (1_000, 5_000))


@dataclass
class Measured:
    """Everything one run of the benchmark found; `by_entries` is what the ledger held before."""

    beside: dict[str, dict[int, list[Sample]]] = field(default_factory=dict)
    by_entries: dict[int, Sample] = field(default_factory=dict)
    resident_mib: dict[int, float] = field(default_factory=dict)
    clean_start_seconds: float = 0.0
    killed_start_seconds: float = 0.0


async def compare(run: Run) -> list[Comparison]:
    """Beside Prosody, with one pair and with many outstanding; what the ledger holds in notes."""
    found = await measure(QUICK if run.quick else FULL, run)
    return [
        Comparison(
            f"the key service, {window} outstanding",
            "Prosody's db:verify",
            "pairs of issue and verify",
            base={_LOAD: found.beside[THEIRS][window]},
            ours={_LOAD: found.beside[OURS][window]},
            lines=[Line(_LOAD, measure) for measure in (RATE, MEDIAN, P99, cpu_of("server"))],
            notes=list(notes(found)) if window == max(found.beside[OURS]) else [],
        )
        for window in found.beside[OURS]
    ]


def notes(found: Measured) -> Iterator[str]:
    """What a pair and the memory cost as the ledger grows, and a start with all that in it."""
    for entries, mib in found.resident_mib.items():
        sample = found.by_entries.get(entries)
        cost = f"{sample.cpu_each('server') * 1e6:.1f} µs of CPU a pair, " if sample else ""
        yield f"{entries:,} live entries: {cost}{mib:.1f} MiB resident"
    yield (
        f"start at that size: {found.clean_start_seconds:.2f} s after a clean stop, "
        f"{found.killed_start_seconds:.2f} s after SIGKILL"
    )


async def measure(scale: Scale, run: Run) -> Measured:
    """Let both take turns, then fill the ledger of another keyd and start it again."""
    found = Measured()
    cores = Cores.choose(together=False)
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
        stack.enter_context(cores.load_alone())
        async with _keyd(directory / "beside", cores.server) as (keyd, stream):
            fresh = triples(_DOMAINS, 0)
            await run_pairs(stream, fresh, _DOMAINS, 64)
            for _ in run.each_round():
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
