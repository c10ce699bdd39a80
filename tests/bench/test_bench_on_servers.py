"""`--quick` on real servers: everything that is measured succeeds, native and bolted on."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.suites import SUITES
from sidecar.lab.ejabberd import require_ejabberd
from sidecar.lab.prosody import require_prosody

REPOSITORY = Path(__file__).parents[2]
TIMEOUT_SECONDS = 600


@pytest.mark.interop
async def test_quick_run_measures_everything_and_nothing_fails(tmp_path: Path) -> None:
    require_prosody()
    require_ejabberd()
    result = tmp_path / "result.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench", "--quick", "--json", str(result)),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()

    found = json.loads(result.read_text())
    assert set(found["settings"]["seconds"]) == set(SUITES)
    by_title = {each["title"]: each for each in found["comparisons"]}
    for server in ("prosody", "ejabberd"):
        for stream in ("cleartext", "TLS"):
            _shows_every_load_on_both(by_title[f"{server}, {stream}"])
    for each in found["comparisons"]:
        assert each["lines"]
        for by_load in each["samples"].values():
            for samples in by_load.values():
                assert [sample["failed"] for sample in samples] == [0]
                assert all(sample["done"] > 0 for sample in samples)


def _shows_every_load_on_both(comparison: dict[str, Any]) -> None:
    native, bolted_on = comparison["samples"]["native"], comparison["samples"]["bolted-on"]
    assert set(native) == set(bolted_on)
    assert len(native) == 6
    for samples, processes in ((native, {"server"}), (bolted_on, {"server", "sidecar", "keyd"})):
        for (sample,) in samples.values():
            assert set(sample["cpu_seconds"]) == processes
