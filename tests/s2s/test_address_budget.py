"""What one address may cost, by a clock that the test turns."""

from __future__ import annotations

import pytest

from sidecar.s2s.address_budget import AddressBudget, DialLimits
from sidecar.s2s.failures import Failure, Reason

VICTIM = ("192.0.2.1", 443)
HONEST, EVIL = "198.51.100.0/24", "203.0.113.0/24"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def budget(clock: Clock) -> AddressBudget:
    limits = DialLimits(burst=10, per_second=2.0, prefix_burst=4, prefix_per_second=1.0)
    return AddressBudget(limits, clock)


def dials(budget: AddressBudget, prefix: str, times: int, place=VICTIM) -> int:
    """How many of so many connections are allowed."""
    return sum(budget.refusal(place, prefix) is None for _ in range(times))


def test_one_network_may_not_use_up_an_address(budget: AddressBudget) -> None:
    assert dials(budget, EVIL, 100) == 4
    assert dials(budget, HONEST, 2) == 2


def test_many_networks_together_have_a_limit_whatever_the_port(budget: AddressBudget) -> None:
    allowed = [dials(budget, f"net {n}", 4, ("192.0.2.1", 1000 + n)) for n in range(8)]
    assert sum(allowed) == 10
    refusal = budget.refusal(VICTIM, HONEST)
    assert refusal is not None
    assert refusal.reason is Reason.ADDRESS_BUSY


def test_budget_comes_back_with_time_and_no_further_than_its_burst(
    budget: AddressBudget, clock: Clock
) -> None:
    assert dials(budget, EVIL, 100) == 4
    clock.now += 2
    assert dials(budget, EVIL, 100) == 2
    clock.now += 3600
    assert dials(budget, EVIL, 100) == 4


@pytest.mark.parametrize(
    ("reason", "seconds"),
    [(Reason.CONNECT_REFUSED, 2), (Reason.CONNECT_UNREACHABLE, 2), (Reason.CONNECT_TIMEOUT, 10)],
)
def test_what_tcp_said_is_remembered_for_seconds(reason, seconds, budget, clock) -> None:
    failure = Failure(reason, "192.0.2.1:443")
    budget.remember(VICTIM, failure)
    assert budget.refusal(VICTIM, HONEST) == failure
    assert budget.refusal(("192.0.2.1", 444), HONEST) is None
    clock.now += seconds
    assert budget.refusal(VICTIM, HONEST) is None


@pytest.mark.parametrize("reason", [r for r in Reason if not r.code.startswith("connect-")])
def test_nothing_else_is_remembered(reason, budget: AddressBudget) -> None:
    budget.remember(VICTIM, Failure(reason))
    assert budget.refusal(VICTIM, HONEST) is None


def test_memory_has_bounds(budget: AddressBudget, clock: Clock) -> None:
    for number in range(30_000):
        clock.now += 0.0001
        place = (f"2001:db8::{number:x}", 5269)
        budget.refusal(place, EVIL)
        budget.remember(place, Failure(Reason.CONNECT_TIMEOUT))
    assert len(budget._failures) <= 8192
    assert len(budget._buckets) <= 2 * 8192 + 2
