"""All benchmarks, each on throw-away servers of its own, and one table of what they found.

    python -m bench [NAME ...] [--rounds N] [--minutes N] [--quick] [--json FILE]

The names are those of `suites`. docs/benchmarks.md says what the numbers mean.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench.comparison import Comparison
from bench.report import as_json, disturbance, reached, summary, table
from bench.run import STREAMS, Run
from bench.servers import SERVERS
from bench.suites import SUITES
from sidecar.lab.faults import LabError

_DISTURBED = 0.1


def main() -> int:
    """Run them, print the table, return the exit status: 1 when anything failed."""
    arguments = _arguments()
    run = Run(
        rounds=arguments.rounds or (1 if arguments.quick else 5),
        seconds=arguments.minutes * 60,
        quick=arguments.quick,
        servers=arguments.server or tuple(SERVERS),
        streams=arguments.stream or STREAMS,
        nagle=arguments.nagle,
        generational=arguments.generational,
        together=arguments.together,
    )
    _allow_many_connections()
    found: list[Comparison] = []
    took: dict[str, float] = {}
    for name in arguments.names or SUITES:
        print(f"{name}:", file=sys.stderr, flush=True)
        begun = time.monotonic()
        try:
            found += uvloop.run(SUITES[name](run))
        except LabError as error:
            print(f"bench: {name}: {error}", file=sys.stderr)
            return 1
        took[name] = time.monotonic() - begun
    _print(found, took, everything=arguments.everything)
    if arguments.json is not None:
        machine = {"machine": platform.platform(), "cores": os.cpu_count(), "seconds": took}
        settings = {key: value for key, value in vars(arguments).items() if key != "json"}
        document = {"settings": settings | machine, "comparisons": [as_json(c) for c in found]}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    return int(any(comparison.failed for comparison in found))


def _print(found: Sequence[Comparison], took: dict[str, float], *, everything: bool) -> None:
    if everything:
        for c in found:
            if c.base:
                print(c.title)
                print("\n".join(table({c.base_name: c.base, c.ours_name: c.ours})))
        print()
    print("\n".join(summary(found)))
    achieved, wanted = reached(found)
    print(f"{achieved} of {wanted} numbers reached")
    each = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items())
    print(f"took {sum(took.values()) / 60:.1f} minutes: {each}")
    share = max(disturbance({"base": c.base, "ours": c.ours}) for c in found)
    if share > _DISTURBED:
        print(f"others had up to {share:.0%} of the servers' core: trust CPU times, not rates")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SUITES)}: all")
    parser.add_argument("--quick", action="store_true", help="a little of each: does it work?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--rounds", type=int, help="rounds of all loads (5; quick: 1)")
    parser.add_argument(
        "--minutes",
        type=float,
        default=3.0,
        help="no round begins that would end later, for each server and kind of stream (3)",
    )
    parser.add_argument("--server", action="append", choices=list(SERVERS), help="(all)")
    parser.add_argument("--stream", action="append", choices=STREAMS, help="(both)")
    parser.add_argument("--everything", action="store_true", help="all that was measured too")
    parser.add_argument(
        "--generational", action="store_true", help="Prosody's other garbage collector"
    )
    parser.add_argument("--nagle", action="store_true", help="leave Nagle's algorithm on")
    parser.add_argument(
        "--together", action="store_true", help="sidecar and keyd on the core of the server"
    )
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in SUITES:
            parser.error(f"expected names of {', '.join(SUITES)}, got {name!r}")
    return arguments


def _allow_many_connections() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main())
