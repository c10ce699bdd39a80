"""Who may check, who waits and who is turned away; no network, no clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sidecar.names import Domain
from sidecar.s2s.failures import Reason
from sidecar.s2s.gate import Gate, GateLimits, prefix_of

HONEST, EVIL = "192.0.2.7", "198.51.100.7"
CAPULET = Domain.parse("capulet.example")
LIMITS = GateLimits(
    in_all=8,
    per_prefix=4,
    per_domain=4,
    per_domain_and_prefix=2,
    waiting=12,
    waiting_per_prefix=6,
)


def name(number: int) -> Domain:
    return Domain.parse(f"d{number}.example")


class Crowd:
    """Checks that hold their room until they are told to leave."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.inside: list[tuple[str, Domain]] = []
        self.refused: list[tuple[str, Domain]] = []
        self._doors: list[asyncio.Event] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, ip: str, domain: Domain, times: int = 1) -> None:
        for _ in range(times):
            self.tasks.append(asyncio.create_task(self._check(ip, domain)))
        await settle()

    async def leave(self, number: int = 0) -> None:
        self.inside.pop(number)
        self._doors.pop(number).set()
        await settle()

    async def _check(self, ip: str, domain: Domain) -> None:
        room = self._gate.room(ip, domain)
        try:
            refusal = await room.enter()
            if refusal is not None:
                assert refusal is Reason.TOO_MANY_CHECKS
                self.refused.append((ip, domain))
                return
            door = asyncio.Event()
            self.inside.append((ip, domain))
            self._doors.append(door)
            await door.wait()
        finally:
            room.leave()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def crowd():
    crowd = Crowd(Gate(LIMITS))
    yield crowd
    for task in crowd.tasks:
        task.cancel()
    await asyncio.gather(*crowd.tasks, return_exceptions=True)


async def test_prefix_gets_its_part_and_waits_for_the_rest(crowd: Crowd) -> None:
    for number in range(12):
        await crowd.come(EVIL, name(number))
    assert (len(crowd.inside), len(crowd.refused)) == (4, 2)  # and six wait
    await crowd.come(HONEST, CAPULET)
    assert crowd.inside[-1] == (HONEST, CAPULET)


async def test_addresses_of_one_network_are_charged_as_one(crowd: Crowd) -> None:
    for number in range(12):
        await crowd.come(f"198.51.100.{number}", name(number))
    assert len(crowd.inside) == 4


async def test_claiming_a_name_leaves_room_for_its_owner(crowd: Crowd) -> None:
    await crowd.come(EVIL, CAPULET, 10)
    assert crowd.inside == [(EVIL, CAPULET)] * 2
    await crowd.come(HONEST, CAPULET)
    assert crowd.inside[-1] == (HONEST, CAPULET)


async def test_name_that_many_networks_claim_has_a_reserve_for_new_ones(crowd: Crowd) -> None:
    for third in range(2):
        await crowd.come(f"203.0.{third}.1", CAPULET, 2)
    assert len(crowd.inside) == 4
    await crowd.come(HONEST, CAPULET)
    assert crowd.inside[-1] == (HONEST, CAPULET)


async def test_free_room_goes_to_the_waiting_networks_by_turns(crowd: Crowd) -> None:
    for number in range(8):
        await crowd.come(f"203.0.{number // 4}.1", name(number))
    assert len(crowd.inside) == 8
    for number in range(8, 11):
        await crowd.come(EVIL, name(number))
    await crowd.come(HONEST, CAPULET)
    for _ in range(2):
        await crowd.leave()
    assert [ip for ip, _ in crowd.inside[-2:]] == [EVIL, HONEST]


async def test_who_gives_up_waiting_leaves_no_trace(crowd: Crowd) -> None:
    for number in range(5):
        await crowd.come(EVIL, name(number))
    crowd.tasks[-1].cancel()
    await settle()
    await crowd.come(EVIL, name(9))
    await crowd.leave()
    assert crowd.inside[-1] == (EVIL, name(9))


async def test_who_gives_up_as_the_turn_comes_hands_it_on(crowd: Crowd) -> None:
    for number in range(6):
        await crowd.come(EVIL, name(number))
    crowd.inside.pop(0)
    crowd._doors.pop(0).set()
    await asyncio.sleep(0)  # the turn is given, not yet taken
    crowd.tasks[4].cancel()
    await settle()
    assert crowd.inside[-1] == (EVIL, name(5))


async def test_everything_is_free_again_when_all_have_left() -> None:
    gate = Gate(LIMITS)
    for _ in range(3):
        rooms = [gate.room(f"203.0.{number // 2}.1", name(number)) for number in range(8)]
        for room in rooms:
            assert await room.enter() is None
        for room in rooms:
            room.leave()


PREFIXES: list[tuple[Callable[[], str] | str | None, str]] = [
    ("192.0.2.7", "192.0.2.0/24"),
    ("::ffff:192.0.2.7", "192.0.2.0/24"),
    ("2001:db8:1:2::3", "2001:db8:1::/48"),
    ("fe80::1%eth0", "fe80::/48"),
    ("peer", ""),
    (None, ""),
]


@pytest.mark.parametrize(("ip", "prefix"), PREFIXES)
def test_network_that_is_charged(ip, prefix) -> None:
    assert prefix_of(ip) == prefix
