"""The benchmark of the API measures what it says, and every handshake beside it is valid."""

from __future__ import annotations

import re

import pytest

from bench.api import LOADS, measure


async def test_each_load_is_measured_beside_valid_handshakes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    await measure(seconds=0.4, handshakes=50)
    printed = capsys.readouterr().out
    assert "were not valid" not in printed
    for name in LOADS:
        (line,) = [line for line in printed.splitlines() if line.startswith(name)]
        numbers = re.findall(r"\d+\.\d+", line)
        assert len(numbers) == 4, line
