"""When a link is tried again."""

from __future__ import annotations

import random

from sidecar.component.backoff import BackOff


def test_ceiling_doubles_from_a_quick_retry_to_the_cap() -> None:
    back_off = BackOff(lambda: 1.0)
    ceilings = [back_off.next_delay_seconds() for _ in range(9)]
    assert ceilings == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_delays_are_spread_over_the_whole_range() -> None:
    back_off = BackOff(random.Random(7).random)
    back_off.attempts = 20
    delays = [back_off.next_delay_seconds() for _ in range(2000)]
    assert all(0 <= delay < 30 for delay in delays)
    assert {int(delay // 5) for delay in delays} == set(range(6))


def test_after_a_stable_connection_the_retry_is_quick_again() -> None:
    back_off = BackOff(lambda: 1.0)
    for _ in range(5):
        back_off.next_delay_seconds()
    back_off.reset()
    assert back_off.next_delay_seconds() == 0.5


def test_years_of_failures_do_not_overflow() -> None:
    assert BackOff(lambda: 1.0, attempts=10**9).next_delay_seconds() == 30
