"""The soak runs: a little of each. Whether memory stays flat is for the long run to say."""

from __future__ import annotations

import pytest

from bench.soak import handshakes, listener
from bench.soak.memory import Course


async def test_every_handshake_of_a_short_soak_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    assert await handshakes.soak(400)
    assert "400 handshakes, 4 reconnects, 0 not valid" in capsys.readouterr().out


async def test_honest_keys_are_valid_in_a_small_crowd(capsys: pytest.CaptureFixture[str]) -> None:
    await listener.soak(listener.Size(idle=20, slow=1, floods=1, honest=8))
    assert "all given back" in capsys.readouterr().out


def test_growth_is_told_from_a_course_that_only_fills_at_first() -> None:
    course = Course({"flat": 0, "grows": 0})
    course.mib["flat"] = [10, 20, 20, 20, 20, 20, 20, 20]
    course.mib["grows"] = [10, 20, 30, 40, 50, 60, 70, 80]
    assert course.growth("flat") == 1
    assert course.growth("grows") > 2
