"""How a real daemon starts and fails to: in words, and without harm to another that runs."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path

import pytest

from sidecar.lab.process import Process
from sidecar.lab.sidecar import ENVIRONMENT, command

_CONFIG = """
state_directory = "state"
[admin]
listen = []
[[link]]
jid = "dialback.capulet.example"
port = 1
secret_file = "secret"
domains = ["capulet.example"]
"""


def _daemon(directory: Path, *, more: str = "") -> Process:
    (directory / "sidecar.toml").write_text(_CONFIG + more)
    (directory / "secret").touch(mode=0o600)
    (directory / "secret").write_text("s3cr3t")
    return Process(
        "dialback-sidecar",
        command("dialback-sidecar", "serve", "--config", directory / "sidecar.toml"),
        directory=directory,
        environment=ENVIRONMENT,
    )


async def _said_at_its_end(daemon: Process) -> str:
    assert await asyncio.wait_for(daemon.wait(), 60) == 1
    return "\n".join(line.text for line in daemon.output.lines)


async def test_second_daemon_with_the_state_directory_of_another_ends_and_says_so(
    tmp_path: Path,
) -> None:
    first, second = _daemon(tmp_path), _daemon(tmp_path)
    await first.start()
    try:
        await first.output.wait_for("connected to the key service", timeout_seconds=60)
        await second.start()
        said = await _said_at_its_end(second)
        assert f"{tmp_path / 'state'}: another dialback-sidecar is using it" in said
        assert "dialback-keyd" not in said
        assert first.running
    finally:
        await second.stop()
        await first.stop()


async def test_state_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    daemon = await _daemon(tmp_path).start()
    try:
        said = await _said_at_its_end(daemon)
        assert f"cannot start: state_directory {tmp_path / 'state'}: is not a directory" in said
    finally:
        await daemon.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_daemon_that_waits_for_its_key_service_stops_at_once(
    number: int, tmp_path: Path
) -> None:
    """The socket of the key service is there, and nobody listens on it."""
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "keyd.sock"))
        daemon = await _daemon(tmp_path, more='[keyd]\nsocket = "keyd.sock"\n').start()
        try:
            while not (tmp_path / "state" / "sidecar.lock").exists():
                assert daemon.running
                await asyncio.sleep(0.02)
            daemon.signal(number)
            assert await asyncio.wait_for(daemon.wait(), 60) == 0
            said = "\n".join(line.text for line in daemon.output.lines)
            assert "no key service answers" not in said
        finally:
            await daemon.stop()
