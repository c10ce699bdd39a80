"""The authority listener beside Prosody and ejabberd: `db:verify` answered, all on one core.

Each round every one of them verifies as many keys that are right, one after the other. Ours were
issued by the key service a moment before and are asked about once: each verify goes through the
listener, the socket and the ledger, and is on disk before its answer. The daemon and the key
service share one core, as the native servers have it in their turn; the load has another.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import cpu
from bench.comparison import CPU_OF_ALL, MEDIAN, RATE, Bound, Comparison, Line
from bench.contenders import ENDLESS, Cores, pin
from bench.dns import WildcardDns
from bench.outbound import IssuedKey
from bench.report import Results
from bench.run import Run
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


FULL = (Load(1, 64, 40_000), Load(8, 64, 40_000), Load(1, 1, 3_000))
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
                pin(pid, cores.server)
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


def _target(number: int) -> str:
    """A target domain for a thousand keys: the ledger caps how many a zone may have."""
    return f"montague.zone{number // _ISSUE_AT_ONCE}.test"


async def _native_keys(maker: KeyMaker, count: int) -> Sequence[IssuedKey]:
    found = []
    for number in range(count):
        target, stream = _target(number), f"s{number}"
        found.append(_key(target, stream, maker.key(key_message(_DOMAIN, target, stream))))
    return found


async def _issued_keys(
    keys: KeyClient, numbers: itertools.count[int], count: int
) -> Sequence[IssuedKey]:
    """Keys that the key service has just issued, each new."""

    async def issue() -> IssuedKey:
        number = next(numbers)
        target, stream = _target(number), f"s{number}"
        pair = DomainPair(sender=Domain.parse(_DOMAIN), target=Domain.parse(target))
        key = await keys.issue(pair, StreamId.parse(stream), timeout_seconds=_SECONDS)
        return _key(target, stream, key.reveal())

    found: list[IssuedKey] = []
    while len(found) < count:
        missing = min(_ISSUE_AT_ONCE, count - len(found))
        found += await asyncio.gather(*(issue() for _ in range(missing)))
    return found


def _key(target: str, stream: str, text: str) -> IssuedKey:
    return IssuedKey(_DOMAIN.encode(), target.encode(), stream.encode(), text.encode())


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


async def measure(run: Run, loads: Sequence[Load]) -> Results:
    """Interleaved rounds of all loads on all answerers."""
    found: dict[str, dict[str, list[Sample]]] = {}
    cores = Cores.choose(together=False)
    with throwaway_directory() as directory:
        async with answerers(directory, cores) as all_of_them:
            with cores.load_alone():
                for load in QUICK:
                    for answerer in all_of_them.values():
                        await _run(answerer, load)
                for _ in run.each_round():
                    for load in loads:
                        for name, answerer in all_of_them.items():
                            sample = await _run(answerer, load)
                            found.setdefault(name, {}).setdefault(load.name, []).append(sample)
    return found


async def compare(run: Run) -> list[Comparison]:
    """Beside each of the native servers: not less than Prosody, ejabberd is the goal."""
    loads = QUICK if run.quick else FULL
    found = await measure(run, loads)
    ours = found["authority"]
    return [
        Comparison(
            "db:verify answered",
            native,
            "the authority listener",
            base=base,
            ours=ours,
            lines=[
                Line(loads[0].name, RATE, Bound(at_least=1) if native == "Prosody" else None),
                *(Line(load.name, RATE) for load in loads[1:]),
                *(Line(load.name, CPU_OF_ALL) for load in loads),
                Line(loads[-1].name, MEDIAN),
            ],
        )
        for native, base in found.items()
        if native != "authority"
    ]
