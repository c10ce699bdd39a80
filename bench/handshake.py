"""Handshakes with a native server and with the same server bolted on, side by side in one run.

Rounds are interleaved (native, bolted-on, native, ...). The server has one core, the load
another; the sidecar and keyd share the load's unless there is a third, or the server's with
`--together`. Read the ratios: absolute numbers are those of this machine at this hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack

from bench.comparison import CPU_OF_ALL, MEDIAN, RATE, Bound, Comparison, Line, cpu_of
from bench.contenders import Contender, Cores, Options, contenders
from bench.loads import AT_ONCE, FULL, INBOUND, OUTBOUND, QUICK, VERIFY, Load, loads
from bench.peers import Peers, peers
from bench.run import Run
from bench.sample import Sample
from bench.tls import Tls
from sidecar.lab.directory import throwaway_directory

_VERIFY_RATE = {"prosody": 0.3, "ejabberd": 0.22}

_Found = dict[str, dict[str, list[Sample]]]


async def compare(run: Run) -> list[Comparison]:
    """One comparison for each server, on cleartext and in TLS."""
    return [await _compare(run, server, s) for server in run.servers for s in run.streams]


async def _compare(run: Run, server: str, stream: str) -> Comparison:
    found = await _measure(run, server, tls=stream == "TLS")
    return Comparison(
        title=f"{server}, {stream}",
        base_name="native",
        ours_name="bolted-on",
        base=found["native"],
        ours=found["bolted-on"],
        lines=list(lines(server, tls=stream == "TLS")),
    )


def lines(server: str, *, tls: bool) -> Iterator[Line]:
    """What bolting on may cost."""
    one, many = INBOUND.format(1), INBOUND.format(AT_ONCE)
    yield Line(many, RATE, Bound(at_least=1, goal=1.3))
    yield Line(many, cpu_of("server"), Bound(at_most=1))
    yield Line(many, CPU_OF_ALL)
    yield Line(one, MEDIAN, Bound(at_most=1.25))
    one, many = OUTBOUND.format(1), OUTBOUND.format(AT_ONCE)
    yield Line(many, RATE, Bound(at_least=0.8))
    yield Line(many, cpu_of("server"))
    yield Line(many, CPU_OF_ALL)
    yield Line(one, MEDIAN, Bound(at_most=1.1) if tls else Bound(more=1))
    yield Line(VERIFY, RATE, Bound(at_least=_VERIFY_RATE[server]))
    yield Line(VERIFY, cpu_of("server"))
    yield Line(VERIFY, CPU_OF_ALL)


async def _measure(run: Run, server: str, *, tls: bool) -> _Found:
    results: _Found = {}
    options = Options(
        server=server,
        tls=tls,
        nagle=run.nagle,
        generational=run.generational,
        cores=Cores.choose(together=run.together),
    )
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(throwaway_directory())
        contexts = Tls.self_signed(directory) if tls else None
        others = await stack.enter_async_context(peers(contexts))
        both = await stack.enter_async_context(contenders(options, directory, others.dns))
        stack.enter_context(options.cores.load_alone())
        await _round(both, others, loads(QUICK), {})
        for _ in run.each_round():
            await _round(both, others, loads(QUICK if run.quick else FULL), results)
    return results


async def _round(both: list[Contender], others: Peers, which: list[Load], results: _Found) -> None:
    for load in which:
        for contender in both:
            for name, sample in (await load(contender, others)).items():
                results.setdefault(contender.name, {}).setdefault(name, []).append(sample)
