"""What tests of several folders share."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator

import pytest
from hypothesis import settings

from sidecar.lab.faults import Missing
from sidecar.lab.network import Network

# How long one example takes says more about the machine's other work than about us.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    """A small internet of real servers, see `sidecar.lab.network`."""
    async with Network() as network:
        yield network


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    return (yield from _skip_what_is_missing())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    return (yield from _skip_what_is_missing())


def _skip_what_is_missing() -> Generator[None, None, None]:
    """An absent server skips the test on a developer's machine and fails it in CI."""
    try:
        return (yield)
    except Missing as missing:
        if os.environ.get("CI", "").lower() in ("", "0", "false"):
            pytest.skip(str(missing))
        raise
