"""Every fuzz target of `tests/fuzz` with atheris, each for its share of the time."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from sidecar.lab.directory import throwaway_directory

_TARGETS = Path(__file__).parents[2] / "tests" / "fuzz"
_LAST_BYTES = 3000


async def soak(seconds: float) -> bool:
    """Fuzz for `seconds` in all, two targets at a time; True when no input broke an invariant."""
    targets = sorted(_TARGETS.glob("fuzz_*.py"))
    share = max(5, int(2 * seconds / len(targets)))
    two = asyncio.Semaphore(2)

    async def one(target: Path) -> bool:
        async with two:
            return await _fuzz(target, share)

    return all(await asyncio.gather(*map(one, targets)))


async def _fuzz(target: Path, seconds: int) -> bool:
    with throwaway_directory() as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(target),
            f"-max_total_time={seconds}",
            f"-artifact_prefix={folder}/",
            str(folder),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    lines = output.decode(errors="replace").splitlines()
    runs = next((line for line in reversed(lines) if line.startswith("Done ")), "no summary")
    print(f"{target.stem}: {runs}", flush=True)
    if process.returncode:
        print(output[-_LAST_BYTES:].decode(errors="replace"))
    return process.returncode == 0
