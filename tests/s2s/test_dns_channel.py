"""c-ares on the event loop, against a real DNS server."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from bench.dns import WildcardDns, Zone
from bench.soak.memory import resident_mib
from sidecar.lab.addresses import fresh_address
from sidecar.lab.dns import DnsServer
from sidecar.lab.script import Silent, Slow, Truncate
from sidecar.s2s.dns_channel import DnsChannel, SystemNameservers

A = 1
CANCELLED = 24  # ARES_ECANCELLED


class Told:
    """Collects what a channel tells; `await` it for the first."""

    def __init__(self) -> None:
        self.codes: list[int | None] = []
        self.threads: set[int] = set()
        self._first = asyncio.Event()

    def __call__(self, found: Any, code: int | None) -> None:
        self.codes.append(code)
        self.threads.add(threading.get_ident())
        self._first.set()

    async def once(self) -> int | None:
        await self._first.wait()
        return self.codes[0]


async def ask(channel: DnsChannel, name: str) -> int | None:
    """The error code of the answer, None when there is none."""
    told = Told()
    channel.ask(name, A, told)
    return await told.once()


def sockets() -> set[str]:
    """The sockets of this process, those of DNS over UDP among them."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        try:
            target = str(each.readlink())
        except FileNotFoundError:  # the one that lists
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


async def test_answers_come_in_the_thread_of_the_event_loop(dns):
    dns.add_address("host.example", "192.0.2.1")
    channel, told = DnsChannel([dns.nameserver]), Told()
    channel.ask("host.example", A, told)
    assert await told.once() is None
    assert told.threads == {threading.get_ident()}
    channel.close()


async def test_closing_tells_who_waits_and_leaves_no_socket(dns):
    dns.script("silent.example", Silent())
    before = sockets()
    channel, told = DnsChannel([dns.nameserver]), [Told(), Told()]
    for number, each in enumerate(told):
        channel.ask(f"host{number}.silent.example", A, each)
    assert sockets() > before
    channel.close()
    assert [each.codes for each in told] == [[CANCELLED], [CANCELLED]]
    assert sockets() == before
    channel.close()
    assert await ask(channel, "host.example") == CANCELLED


async def test_no_socket_stays_open_between_questions(dns):
    dns.add_address("host.example", "192.0.2.1")
    channel = DnsChannel([dns.nameserver])
    before = sockets()
    for _ in range(3):
        await ask(channel, "host.example")
    assert sockets() == before
    channel.close()


async def test_name_that_cannot_be_is_told_as_an_error(dns):
    channel = DnsChannel([dns.nameserver])
    assert await ask(channel, "a" * 64 + ".example") is not None
    assert not dns.queries
    channel.close()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_both_kinds_of_event_loop_bring_udp_tcp_and_time(new_loop: Callable[[], Any]):
    async def run() -> list[int | None]:
        async with DnsServer() as dns:
            dns.add_address("host.example", "192.0.2.1")
            dns.add_address("long.example", "192.0.2.1")
            dns.script("long.example", Truncate())
            dns.add_address("slow.example", "192.0.2.1")
            dns.script("slow.example", Slow(0.4))
            channel = DnsChannel([dns.nameserver])
            for _ in range(20):  # a nameserver that is quick is waited for briefly
                assert await ask(channel, "host.example") is None
            names = ("host.example", "long.example", "slow.example")
            found = await asyncio.gather(*(ask(channel, name) for name in names))
            assert {query.transport for query in dns.asked("long.example")} == {"udp", "tcp"}
            assert len(dns.asked("slow.example")) > 1
            channel.close()
            return found

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(run()) == [None] * 3


class Named(SystemNameservers):
    """Those that a file of our own names: c-ares looks at `/etc/resolv.conf` alone."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path

    def read(self) -> list[str]:
        return self._path.read_text().split()


async def test_nameservers_of_the_system_are_followed(dns, tmp_path):
    dns.add_address("host.example", "192.0.2.1")
    named, now = tmp_path / "nameservers", [1000.0]
    named.write_text("192.0.2.53")
    channel = DnsChannel(system=Named(named), clock=lambda: now[0])
    async with DnsServer() as other:
        for server in (other, dns):
            renewed = tmp_path / "renewed"
            renewed.write_text(server.nameserver)
            renewed.replace(named)
            now[0] += 60
            absent = await ask(channel, "host.example")
        assert absent is None
        assert len(other.asked("host.example")) == len(dns.asked("host.example")) == 1
    channel.close()


async def test_memory_of_answers_is_bounded_and_questions_under_way_go_on(monkeypatch):
    monkeypatch.setattr("sidecar.s2s.dns_channel._MAX_REMEMBERED", 1_000)
    zone = Zone("zone.example", "192.0.2.1", 5269)
    async with WildcardDns(fresh_address(), zone) as dns:
        channel = DnsChannel([dns.nameserver])
        asked = [f"{name}." + "x" * 60 + ".zone.example" for name in range(30_000)]
        resident = []
        for start in range(0, len(asked), 200):
            codes = await asyncio.gather(*(ask(channel, name) for name in asked[start:][:200]))
            assert set(codes) == {None}
            resident.append(resident_mib(os.getpid()))
        third = len(resident) // 3
        assert resident[-1] - resident[third] < 10  # c-ares would have taken 26
        channel.close()
