"""Handshakes with a native server and with the same server bolted on, side by side in one run.

    python -m bench.handshake [--quick] [--json FILE]

Rounds are interleaved (native, bolted-on, native, ...). The server has one core, the load
another; the sidecar and keyd share the load's unless there is a third, or the server's with
`--together`. Read the ratios: absolute numbers are those of this machine at this hour.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from bench.contenders import Contender, Cores, Options, contenders
from bench.loads import FULL, QUICK, Load, loads
from bench.peers import Peers, peers
from bench.report import Results, as_json, disturbance, table
from bench.sample import Sample
from bench.servers import SERVERS
from bench.tls import Tls
from sidecar.lab.directory import throwaway_directory
from sidecar.lab.faults import LabError

_DISTURBED = 0.1


async def measure(options: Options, *, rounds: int, quick: bool) -> Results:
    """Start both contenders, run `rounds` of all loads, return their samples."""
    results: dict[str, dict[str, list[Sample]]] = {}
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(throwaway_directory())
        tls = Tls.self_signed(directory) if options.tls else None
        others = await stack.enter_async_context(peers(tls))
        both = await stack.enter_async_context(contenders(options, directory, others.dns))
        os.sched_setaffinity(0, {options.cores.load})
        await _round(both, others, loads(QUICK), {}, "warming up")
        for number in range(1, rounds + 1):
            which = loads(QUICK if quick else FULL)
            await _round(both, others, which, results, f"round {number} of {rounds}")
    return results


async def _round(
    both: list[Contender],
    others: Peers,
    which: list[Load],
    results: dict[str, dict[str, list[Sample]]],
    title: str,
) -> None:
    print(title, file=sys.stderr, flush=True)
    for load in which:
        for contender in both:
            for name, sample in (await load(contender, others)).items():
                results.setdefault(contender.name, {}).setdefault(name, []).append(sample)


def main() -> int:
    """Run, print the table, return the exit status: 1 when anything failed."""
    parser = argparse.ArgumentParser(prog="bench.handshake", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few handshakes: does it work at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--rounds", type=int, help="rounds of all loads (5; quick: 1)")
    parser.add_argument("--server", choices=list(SERVERS), default="prosody")
    parser.add_argument(
        "--generational", action="store_true", help="Prosody's other garbage collector"
    )
    parser.add_argument("--tls", action="store_true", help="inside TLS, self-signed")
    parser.add_argument("--nagle", action="store_true", help="leave Nagle's algorithm on")
    parser.add_argument(
        "--together", action="store_true", help="sidecar and keyd on the core of the server"
    )
    arguments = parser.parse_args()
    options = Options(
        server=arguments.server,
        tls=arguments.tls,
        nagle=arguments.nagle,
        generational=arguments.generational,
        cores=Cores.choose(together=arguments.together),
    )
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    _allow_many_connections()
    try:
        results = uvloop.run(measure(options, rounds=rounds, quick=arguments.quick))
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print("\n".join(table(results)))
    if (share := disturbance(results)) > _DISTURBED:
        print(f"others had {share:.0%} of the servers' core meanwhile: trust CPU times, not rates")
    if arguments.json is not None:
        machine = {"machine": platform.platform(), "cores": os.cpu_count(), "rounds": rounds}
        settings = {key: value for key, value in vars(arguments).items() if key != "json"}
        document = {"settings": settings | machine} | as_json(results)
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    return int(any(s.failed for by_load in results.values() for ss in by_load.values() for s in ss))


def _allow_many_connections() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main())
