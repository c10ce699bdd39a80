"""`--quick` on real servers: every handshake and verify succeeds, with and without the sidecar."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.lab.ejabberd import require_ejabberd
from sidecar.lab.prosody import require_prosody

REPOSITORY = Path(__file__).parents[2]
TIMEOUT_SECONDS = 300


@pytest.mark.interop
@pytest.mark.parametrize(
    ("server", "require"),
    [("prosody", require_prosody), ("ejabberd", require_ejabberd)],
    ids=["prosody", "ejabberd"],
)
async def test_quick_run_measures_every_load_on_both_contenders(
    server: str, require: Callable[[], None], tmp_path: Path
) -> None:
    require()
    result = tmp_path / "result.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.handshake", "--quick"),
        *("--server", server, "--json", str(result)),
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
    native, bolted_on = found["samples"]["native"], found["samples"]["bolted-on"]
    assert set(native) == set(bolted_on) == set(found["ratios"])
    assert len(native) == 6
    for samples in (*native.values(), *bolted_on.values()):
        assert [sample["failed"] for sample in samples] == [0]
    for (sample,) in bolted_on.values():
        assert set(sample["cpu_seconds"]) == {"server", "sidecar", "keyd"}
    for (sample,) in native.values():
        assert set(sample["cpu_seconds"]) == {"server"}
