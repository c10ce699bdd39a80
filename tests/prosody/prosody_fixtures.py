"""The fixture of these tests; `pytest_plugins` of a test file names this one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from prosody_stage import OpenStage, Stage

from sidecar.lab.network import Network


@pytest.fixture
async def open_stage(network: Network) -> AsyncIterator[OpenStage]:
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
