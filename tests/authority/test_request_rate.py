"""What networks owe, with a clock as an argument."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from listening import listening

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


def test_while_we_are_late_everything_is_dearer() -> None:
    rate = RequestRate(100.0)
    for _ in range(3):
        rate.note_lateness(0.5)
    assert rate.charge(FLOODING, 100.0, 0.0) == pytest.approx(7.5)
    assert rate.charge(OTHER, 5.0, 0.0) == 0.0
    for _ in range(100):
        rate.note_lateness(0.5)
    assert rate.charge("203.0.113.0/24", 0.5, 0.0) == 0.0
    for _ in range(100):
        rate.note_lateness(0.001)
    assert rate.charge("192.88.99.0/24", 150.0, 0.0) == pytest.approx(1.0)


async def test_listener_that_is_busy_notices_it(tmp_path: Path) -> None:
    async with listening(tmp_path) as place:
        rate = place.listener._service.request_rate
        async with asyncio.timeout(60):
            while rate.factor == 1.0:
                until = time.thread_time() + 0.5
                while time.thread_time() < until:
                    pass
                await asyncio.sleep(0)
            while rate.factor > 1.0:
                await asyncio.sleep(0.05)
