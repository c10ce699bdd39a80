"""The authority listener beside Prosody and ejabberd: `db:verify` answered, all on one core.

    python -m bench.authority [--quick] [--json FILE]

Each round every one of them verifies as many keys that are right, one after the other. Ours were
issued by the key service a moment before and are asked about once: each verify goes through the
listener, the socket and the ledger, and is on disk before its answer. The daemon and the key
service share one core, as the native servers have it in their turn; the load has another.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvloop

from bench import cpu
from bench.contenders import ENDLESS, Cores
from bench.dns import WildcardDns
from bench.outbound import IssuedKey
from bench.report import Results, as_json, disturbance, table
from bench.sample import Sample, measured
from bench.verify import VerifyLoad
from sidecar.key_client import KeyClient
from sidecar.keys.dialback_key import KeyMaker, key_message
from sidecar.lab.addresses import fresh_address
from sidecar.lab.authority import AuthorityPlace
from sidecar.lab.directory import throwaway_directory
from sidecar.lab.ejabberd import Ejabberd
from sidecar.lab.ejabberd_config import EjabberdSettings
from sidecar.lab.faults import LabError
from sidecar.lab.prosody import Prosody
from sidecar.lab.prosody_config import ProsodySettings
from sidecar.lab.sidecar import Sidecar, SidecarSettings
from sidecar.names import Domain, DomainPair, StreamId

_DOMAIN = "verified.example"
_ZONE = "load.test"
_SECRET = "secret of the benchmark"
_ISSUE_AT_ONCE = 1_000
_SECONDS = 60.0

MakeKeys = Callable[[int], Awaitable[Sequence[IssuedKey]]]


@dataclass(frozen=True)
class Answerer:
    """One that answers, and a way to get keys that are right there."""

    address: str
    port: int
    pids: Mapping[str, int]
    make_keys: MakeKeys


@dataclass(frozen=True)
class Load:
    """So many requests outstanding, spread over so many streams."""

    streams: int
    outstanding: int
    count: int

    @property
    def name(self) -> str:
        over = "one stream" if self.streams == 1 else f"{self.streams} streams"
        return f"db:verify, {self.outstanding} outstanding, {over}"


FULL = (Load(1, 64, 20_000), Load(8, 64, 20_000), Load(1, 1, 3_000))
QUICK = (Load(1, 64, 640), Load(8, 64, 640), Load(1, 1, 50))


@asynccontextmanager
async def answerers(directory: Path, cores: Cores) -> AsyncIterator[dict[str, Answerer]]:
    """Start all three, each on the same core."""
    async with AsyncExitStack() as stack:
        dns = await stack.enter_async_context(WildcardDns(fresh_address()))
        found = {
            "Prosody": await _prosody(stack, directory / "prosody", dns),
            "ejabberd": await _ejabberd(stack, directory / "ejabberd", dns),
            "authority": await _authority(stack, directory / "authority", dns),
        }
        for answerer in found.values():
            for pid in answerer.pids.values():
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    os.sched_setaffinity(int(thread.name), {cores.server})
        yield found


async def _prosody(stack: AsyncExitStack, directory: Path, dns: WildcardDns) -> Answerer:
    settings = ProsodySettings(
        hosts=[_DOMAIN],
        options={"dialback_secret": _SECRET},
        tls=False,
        nagle=False,
        log_level="warn",
    )
    server = Prosody(settings, directory=directory, dns=dns, publish=False)
    await stack.enter_async_context(server)
    make = partial(_native_keys, KeyMaker(_SECRET.encode()))
    return Answerer(server.address, server.s2s_port, {"server": server.pid}, make)


async def _ejabberd(stack: AsyncExitStack, directory: Path, dns: WildcardDns) -> Answerer:
    settings = EjabberdSettings(hosts=[_DOMAIN], tls=False, log_level="warning")
    server = Ejabberd(settings, directory=directory, dns=dns, publish=False)
    await stack.enter_async_context(server)
    told = await server.evaluate("ejabberd_config:get_shared_key()")
    secret = re.search(r'<<"(\w+)">>', told)
    if secret is None:
        raise LabError("ejabberd does not tell its dialback secret")
    make = partial(_native_keys, KeyMaker(secret[1].encode()))
    return Answerer(server.address, server.s2s_port, {"server": server.pid}, make)


async def _authority(stack: AsyncExitStack, directory: Path, dns: WildcardDns) -> Answerer:
    place = AuthorityPlace.fresh(_DOMAIN, allow_cleartext=True, requests_per_second=ENDLESS)
    settings = SidecarSettings([], log_level="warning", authority=place)
    sidecar = await stack.enter_async_context(Sidecar(settings, directory=directory, dns=dns))
    (keyd,) = cpu.children(sidecar.pid)
    keys = KeyClient(sidecar.keyd_socket)
    stack.push_async_callback(keys.close)
    await keys.start(timeout_seconds=_SECONDS)
    numbers = itertools.count()
    return Answerer(
        place.address,
        place.port,
        {"server": sidecar.pid, "keyd": keyd},
        partial(_issued_keys, keys, numbers),
    )


_TARGET = f"v0.{_ZONE}"


async def _native_keys(maker: KeyMaker, count: int) -> Sequence[IssuedKey]:
    return [
        _key(stream, maker.key(key_message(_DOMAIN, _TARGET, stream)))
        for stream in (f"s{number}" for number in range(count))
    ]


async def _issued_keys(
    keys: KeyClient, numbers: itertools.count[int], count: int
) -> Sequence[IssuedKey]:
    """Keys that the key service has just issued, each new."""
    pair = DomainPair(sender=Domain.parse(_DOMAIN), target=Domain.parse(_TARGET))
    found: list[IssuedKey] = []
    while len(found) < count:
        streams = [f"s{next(numbers)}" for _ in range(min(_ISSUE_AT_ONCE, count - len(found)))]
        issued = await asyncio.gather(
            *(keys.issue(pair, StreamId.parse(s), timeout_seconds=_SECONDS) for s in streams)
        )
        found += [_key(s, key.reveal()) for s, key in zip(streams, issued, strict=True)]
    return found


def _key(stream: str, text: str) -> IssuedKey:
    return IssuedKey(_DOMAIN.encode(), _TARGET.encode(), stream.encode(), text.encode())


async def _run(answerer: Answerer, load: Load) -> Sample:
    keys = await answerer.make_keys(load.count)
    requests = await VerifyLoad.connect(
        None,
        sender=_ZONE,
        target=_DOMAIN,
        address=answerer.address,
        port=answerer.port,
        streams=load.streams,
        outstanding=load.outstanding,
    )
    try:
        return await measured(answerer.pids, partial(requests.run, keys))
    finally:
        requests.close()


async def measure(*, rounds: int, loads: Sequence[Load]) -> Results:
    """Interleaved rounds of all loads on all answerers."""
    found: dict[str, dict[str, list[Sample]]] = {}
    cores = Cores.choose(together=False)
    with throwaway_directory() as directory:
        os.sched_setaffinity(0, {cores.load})
        async with answerers(directory, cores) as all_of_them:
            for load in QUICK:
                for answerer in all_of_them.values():
                    await _run(answerer, load)
            for number in range(1, rounds + 1):
                print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
                for load in loads:
                    for name, answerer in all_of_them.items():
                        sample = await _run(answerer, load)
                        found.setdefault(name, {}).setdefault(load.name, []).append(sample)
    return found


def beside(found: Results, native: str) -> Results:
    """The results of the listener and of one native server, which come first."""
    return {native: found[native], "authority": found["authority"]}


def main() -> int:
    """Run, print the tables, return the exit status: 1 when anything failed."""
    parser = argparse.ArgumentParser(prog="bench.authority", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few verifies: does it work at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--rounds", type=int, help="rounds of all loads (5; quick: 1)")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    try:
        found = uvloop.run(measure(rounds=rounds, loads=QUICK if arguments.quick else FULL))
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    natives = [name for name in found if name != "authority"]
    for native in natives:
        print("\n".join(table(beside(found, native))))
    print(f"others had {disturbance(found):.0%} of the servers' core meanwhile")
    if arguments.json is not None:
        machine = {"machine": platform.platform(), "cores": os.cpu_count(), "rounds": rounds}
        tables = {native: as_json(beside(found, native)) for native in natives}
        arguments.json.write_text(json.dumps({"settings": machine} | tables, indent=1) + "\n")
    return int(any(s.failed for by_load in found.values() for ss in by_load.values() for s in ss))


if __name__ == "__main__":
    sys.exit(main())
