"""What shows only in the long run.

    python -m bench.soak [--quick] [handshakes|listener|fuzzing] ...

Names choose some; without any all are run. Fuzzing takes an hour.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Coroutine

import uvloop

from bench.soak import fuzzing, handshakes, listener

Soak = Callable[[bool], Coroutine[None, None, bool]]

SOAKS: dict[str, Soak] = {
    "handshakes": lambda quick: handshakes.soak(2_000 if quick else 200_000),
    "listener": lambda quick: listener.soak(listener.QUICK if quick else listener.FULL),
    "fuzzing": lambda quick: fuzzing.soak(20 if quick else 3600),
}


def main() -> int:
    """Run what is named, or all; return the exit status: 1 when anything was amiss."""
    parser = argparse.ArgumentParser(prog="bench.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a little of each: does it work?")
    parser.add_argument("which", nargs="*", choices=[[], *SOAKS], help="default: all")
    arguments = parser.parse_args()
    failed: list[str] = []
    for name in arguments.which or SOAKS:
        print(f"== {name}", flush=True)
        if not uvloop.run(SOAKS[name](arguments.quick)):
            failed.append(name)
    print(f"== failed: {', '.join(failed)}" if failed else "== all as it should be")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
