"""The steps of a check, as its verdict tells them."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from checks import CHECK, KEY
from scripted_authority import (
    DIALBACK,
    HEADER,
    Peer,
    ScriptedAuthority,
    answer,
    attribute,
    features,
)

from sidecar.jobs import Step, Verdict
from sidecar.lab.addresses import free_ports, fresh_address
from sidecar.lab.dns import DnsServer
from sidecar.s2s.checker import Checker
from sidecar.s2s.failures import Failure, Reason
from sidecar.s2s.resolver import Resolver
from sidecar.s2s.trace import Trace


async def honest(peer: Peer) -> None:
    await peer.header()
    peer.send(HEADER, features(DIALBACK))
    while True:
        request = await peer.verify()
        peer.send(answer("valid", stream=attribute(request, "id")))


async def silent(peer: Peer) -> None:
    await peer.reader.read()


def told(verdict: Verdict) -> list[tuple[str, str | None]]:
    return [(step.name, step.reason) for step in verdict.steps]


@pytest.fixture
async def checker(resolver: Resolver):
    checker = Checker(resolver, allow_private_addresses=True, idle_seconds=10.0)
    yield checker
    await checker.close()


def publish(dns: DnsServer, authority: ScriptedAuthority) -> None:
    dns.add_srv("capulet.example", "xmpp.example", authority.port, priority=1)
    dns.add_address("xmpp.example", authority.address)


BEGINNING = [("certificate", "certificate-no-tls"), ("room", None), ("services", None)]


async def test_steps_of_a_check_that_went_well(checker, dns) -> None:
    async with ScriptedAuthority(honest) as authority:
        publish(dns, authority)
        verdict = await checker.check(CHECK)
        again = await checker.check(CHECK)
    assert told(verdict) == [
        *BEGINNING,
        ("addresses", None),
        ("connect", None),
        ("stream", None),
        ("answer", None),
    ]
    assert told(again) == [*BEGINNING, ("addresses", None), ("answer on an open stream", None)]
    for one, next_one in itertools.pairwise(verdict.steps):
        assert next_one.begun_seconds >= one.begun_seconds + one.seconds - 1e-6


async def test_step_that_failed_says_why_and_the_next_target_follows(checker, dns) -> None:
    address = fresh_address()
    dns.add_srv("capulet.example", "dead.example", *free_ports(address))
    dns.add_address("dead.example", address)
    async with ScriptedAuthority(honest) as authority:
        publish(dns, authority)
        verdict = await checker.check(CHECK)
    assert told(verdict)[3:6] == [
        ("addresses", None),
        ("connect", "connect-refused"),
        ("addresses", None),
    ]
    assert address in str(verdict.steps[4])


async def test_step_that_the_deadline_cut_short(checker, dns) -> None:
    async with ScriptedAuthority(silent) as authority:
        publish(dns, authority)
        verdict = await checker.check(CHECK, timeout_seconds=0.3)
    assert told(verdict)[-1] == ("stream", "deadline")
    assert verdict.reason == "stream-timeout"


async def test_domain_that_does_not_exist(checker) -> None:
    verdict = await checker.check(CHECK)
    assert told(verdict)[-1] == ("addresses", "dns-no-address")


async def test_trace_is_logged_without_the_key(checker, dns, caplog) -> None:
    caplog.set_level("DEBUG")
    async with ScriptedAuthority(honest) as authority:
        publish(dns, authority)
        await checker.check(CHECK)
    assert "= check capulet.example -> montague.example: certificate " in caplog.text
    assert KEY not in caplog.text


def test_steps_are_timed_by_the_clock_that_is_given() -> None:
    times = iter([100.0, 101.0, 103.0, 104.0, 104.5])
    trace = Trace(lambda: next(times))
    with trace.step("one"):
        pass
    with pytest.raises(asyncio.CancelledError), trace.step("two") as note:
        note.of(Failure(Reason.DNS_TIMEOUT, "x"))
        raise asyncio.CancelledError
    assert trace.steps == (
        Step("one", 1.0, 2.0),
        Step("two", 4.0, 0.5, "x", "deadline"),
    )
    assert str(trace) == "one 2000.0 ms; two 500.0 ms (deadline x)"
