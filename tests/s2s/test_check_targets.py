"""Which of several servers a check asks, and what comes of DNS and TCP that lead nowhere."""

from __future__ import annotations

import pytest
from checks import CHECK, FAILED, INVALID, NOT_FOUND, TIMEOUT, VALID, error, publish
from scripted_authority import ScriptedAuthority, answer, stream_error
from server_scripts import (
    asked_first,
    at_once,
    close_when_asked,
    honest,
    reset_at_once,
    silent,
)

from sidecar.jobs import Outcome
from sidecar.lab.addresses import free_ports, fresh_address
from sidecar.lab.dns import DnsServer
from sidecar.lab.script import Fail, Silent
from sidecar.s2s.checker import Checker
from sidecar.s2s.resolver import Resolver


def publish_dead(dns: DnsServer, *, priority: int = 0) -> None:
    """A target where nothing listens."""
    address = fresh_address()
    (port,) = free_ports(address)
    dns.add_srv("capulet.example", f"dead{priority}.example", port, priority=priority)
    dns.add_address(f"dead{priority}.example", address)


# Several targets


@pytest.mark.parametrize("script", [reset_at_once, silent, at_once(stream_error("internal"))])
async def test_second_target_is_asked_when_the_first_is_of_no_use(script, checker, dns):
    async with ScriptedAuthority(script) as first, ScriptedAuthority(honest) as second:
        publish(dns, first, second)
        assert await checker.check(CHECK, timeout_seconds=10) == VALID


async def test_second_target_is_asked_when_nothing_listens_at_the_first(checker, dns):
    publish_dead(dns)
    async with ScriptedAuthority(honest) as authority:
        publish(dns, authority, first_priority=1)
        assert await checker.check(CHECK, timeout_seconds=10) == VALID


async def test_second_target_is_asked_when_the_first_has_no_address(checker, dns):
    dns.add_srv("capulet.example", "nowhere.example", 5269)
    async with ScriptedAuthority(honest) as authority:
        publish(dns, authority, first_priority=1)
        assert await checker.check(CHECK, timeout_seconds=10) == VALID


async def test_invalid_is_final_whatever_other_targets_would_say(checker, dns):
    wrong = asked_first(answer("invalid"))
    async with ScriptedAuthority(wrong) as first, ScriptedAuthority(honest) as second:
        publish(dns, first, second)
        assert await checker.check(CHECK, timeout_seconds=10) == INVALID
        assert second.connections == 0


async def test_question_is_not_repeated_after_it_was_asked(checker, dns):
    async with ScriptedAuthority(close_when_asked) as first, ScriptedAuthority(honest) as second:
        publish(dns, first, second)
        verdict = await checker.check(CHECK, timeout_seconds=10)
        assert second.connections == 0
    assert verdict == error(TIMEOUT, "answer-missing")


async def test_failure_that_came_furthest_is_reported(checker, dns):
    async with ScriptedAuthority(reset_at_once) as authority:
        publish(dns, authority)
        publish_dead(dns, priority=1)
        verdict = await checker.check(CHECK, timeout_seconds=10)
    assert verdict == error(TIMEOUT, "stream-closed")


async def test_no_more_than_eight_targets_are_tried(checker, dns):
    for priority in range(10):
        publish_dead(dns, priority=priority)
    verdict = await checker.check(CHECK, timeout_seconds=10)
    assert verdict == error(FAILED, "connect-refused")
    assert [bool(dns.asked(f"dead{number}.example")) for number in range(10)] == [
        *[True] * 8,
        *[False] * 2,
    ]


# DNS and TCP


async def test_nothing_listens(checker, dns):
    publish_dead(dns)
    verdict = await checker.check(CHECK, timeout_seconds=10)
    assert verdict == error(FAILED, "connect-refused")


async def test_domain_that_does_not_exist(checker):
    verdict = await checker.check(CHECK, timeout_seconds=10)
    assert verdict == error(NOT_FOUND, "dns-no-address")


async def test_domain_that_says_it_has_no_service(checker, dns):
    dns.add_srv("capulet.example", ".", 0)
    dns.add_address("capulet.example", fresh_address())
    verdict = await checker.check(CHECK, timeout_seconds=10)
    assert verdict == error(NOT_FOUND, "dns-no-service")


async def test_broken_zone_is_an_error_and_no_reason_to_fall_back(checker, dns):
    dns.script("_xmpp-server._tcp.capulet.example", Fail("SERVFAIL"))
    dns.add_address("capulet.example", fresh_address())
    verdict = await checker.check(CHECK, timeout_seconds=10)
    assert verdict == error(TIMEOUT, "dns-servfail")
    assert dns.asked("capulet.example") == []


async def test_dns_that_does_not_answer(checker, dns):
    dns.script("capulet.example", Silent())
    verdict = await checker.check(CHECK, timeout_seconds=0.5)
    assert verdict == error(TIMEOUT, "dns-timeout")


async def test_nameserver_that_is_down_is_our_error_and_never_invalid():
    address = fresh_address()
    (port,) = free_ports(address)
    checker = Checker(Resolver([f"{address}:{port}"], timeout_seconds=2.0))
    verdict = await checker.check(CHECK, timeout_seconds=10)
    assert (verdict.outcome, verdict.condition) == (Outcome.ERROR, TIMEOUT)
    assert verdict.reason in {"dns-unreachable", "dns-timeout"}  # c-ares says either
    await checker.close()
