"""As many files may be open as connections are configured, and never so few that others want."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from listening import listening

FILES = resource.RLIMIT_NOFILE


@pytest.fixture
def _limit() -> Iterator[None]:
    """With few open files to begin with."""
    before = resource.getrlimit(FILES)
    resource.setrlimit(FILES, (min(1024, before[1]), before[1]))
    yield
    resource.setrlimit(FILES, before)


@pytest.mark.usefixtures("_limit")
async def test_reload_with_more_connections_asks_for_more_files(tmp_path: Path) -> None:
    hard = resource.getrlimit(FILES)[1]
    async with listening(tmp_path, connections=100) as place:
        assert resource.getrlimit(FILES)[0] == min(1024, hard)
        await place.listener.take_up(place.config(connections=2_000))
        assert resource.getrlimit(FILES)[0] == min(2_256, hard)


@pytest.mark.usefixtures("_limit")
async def test_connections_leave_files_for_the_rest_of_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    soft, _ = resource.getrlimit(FILES)
    with monkeypatch.context() as patched:
        patched.setattr(resource, "getrlimit", lambda _: (soft, soft))
        patched.setattr(resource, "setrlimit", lambda _, limits: None)
        async with listening(tmp_path, connections=4_000) as place:
            assert place.listener._service.connection_count.in_all == soft - 256
    assert f"{soft - 256} connections, not 4000" in caplog.text
