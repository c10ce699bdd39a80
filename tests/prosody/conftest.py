"""The raw streams and peers of tests/interop, and one Prosody with a scripted sidecar per test."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "interop"))

from prosody_stage import Stage

from sidecar.lab.network import Network


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and "open_stage" in item.fixturenames:
            item.add_marker(pytest.mark.interop)


@pytest.fixture
async def open_stage(network: Network) -> AsyncIterator[Callable[..., Stage]]:
    """`stage = await open_stage(...)`, with what differs in Prosody's settings.

    In the end Prosody's log holds no error of Lua, and none of ours a key.
    """
    async with AsyncExitStack() as stack:
        opened: list[Stage] = []

        async def open_one(**settings: object) -> Stage:
            stage = await stack.enter_async_context(Stage(network, **settings))
            opened.append(stage)
            return stage

        yield open_one
        for stage in opened:
            stage.assert_sound()
