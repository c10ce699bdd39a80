"""What networks owe, with a clock as an argument."""

from __future__ import annotations

import pytest

from sidecar.s2s.authority.request_rate import RequestRate

FLOODING, OTHER = "192.0.2.0/24", "2001:db8::/48"


def test_network_waits_once_it_has_asked_more_than_half_a_second_is_worth() -> None:
    rate = RequestRate(100.0)
    assert rate.charge(FLOODING, 50.0, 0.0) == 0.0
    assert rate.charge(FLOODING, 100.0, 0.0) == pytest.approx(1.0)
    assert rate.charge(OTHER, 50.0, 0.0) == 0.0
    assert rate.charge(FLOODING, 0.0, 1.0) == 0.0


def test_flood_for_a_day_is_forgiven_a_minute_after_its_end() -> None:
    rate = RequestRate(100.0)
    for second in range(86_400):
        rate.charge(FLOODING, 10_000.0, float(second))
    assert rate.charge(FLOODING, 1.0, 86_400.0) < 60.0
    assert rate.charge(FLOODING, 1.0, 86_461.0) == 0.0


def test_networks_beyond_count_are_forgotten() -> None:
    rate = RequestRate(1.0)
    for number in range(50_000):
        rate.charge(str(number), 30.0, 0.0)
    assert len(rate._spent) <= 16_384
    assert rate.charge("49999", 1.0, 0.0) > 29.0
