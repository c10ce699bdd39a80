from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sidecar.lab.addresses import free_ports, fresh_address, is_free, listens, require_free
from sidecar.lab.directory import throwaway_directory
from sidecar.lab.faults import LabError, PortInUse
from sidecar.lab.process import Process, run
from sidecar.lab.sidecar import ENVIRONMENT

# Prints the child's process id and the directory, then waits to be ended.
_LAB_OF_ITS_OWN = """
import asyncio
from sidecar.lab.directory import throwaway_directory
from sidecar.lab.process import Process

async def main():
    with throwaway_directory() as directory:
        child = await Process("cat", ["cat"], directory=directory).start()
        print(child.pid, directory, flush=True)
        await child.wait()

asyncio.run(main())
"""


def test_port_in_use_is_named() -> None:
    address = fresh_address()
    (port,) = free_ports(address)
    require_free(address, port)
    with socket.create_server((address, port)):
        assert listens(address, port)
        assert not is_free(address, port)
        with pytest.raises(PortInUse, match=f"port {port} on {address} is in use"):
            require_free(address, port)
    assert not listens(address, port)


def test_directory_is_removed_with_what_is_in_it() -> None:
    with throwaway_directory() as directory:
        (directory / "a" / "b").mkdir(parents=True)
        (directory / "a" / "b" / "file").write_text("x")
        assert directory.stat().st_mode & 0o777 == 0o700
    assert not directory.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_the_lab_is_ended_by_a_signal(number: signal.Signals) -> None:
    lab = subprocess.Popen(
        [sys.executable, "-c", _LAB_OF_ITS_OWN],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | ENVIRONMENT,
    )
    assert lab.stdout is not None
    child, directory = lab.stdout.readline().split()
    child_handle = os.pidfd_open(int(child))
    lab.send_signal(number)
    lab.wait(10)
    lab.stdout.close()
    assert _ended(child_handle, within_seconds=10)
    _wait_until_removed(Path(directory))


async def test_output_is_kept_and_can_be_waited_for(tmp_path: Path) -> None:
    cat = await Process("cat", ["cat"], directory=tmp_path).start()
    try:
        cat.write(b"one\ntwo\n")
        line = await cat.output.wait_for("^two$")
        assert line is cat.output.lines[1]
        mark = cat.output.mark()
        cat.write(b"two\n")
        assert await cat.output.wait_for("two", after=mark) is cat.output.lines[2]
    finally:
        await cat.kill()
    assert not cat.running
    with pytest.raises(LabError, match=r"ended \(exit status -9\) before"):
        await cat.output.wait_for("three")


async def test_failing_program_is_reported_with_its_output(tmp_path: Path) -> None:
    assert await run(["echo", "fine"], directory=tmp_path) == "fine"
    with pytest.raises(LabError, match="exit status 3:\nbroken"):
        await run(["sh", "-c", "echo broken; exit 3"], directory=tmp_path)


def _ended(handle: int, *, within_seconds: float) -> bool:
    readable, _, _ = select.select([handle], [], [], within_seconds)
    os.close(handle)
    return bool(readable)


def _wait_until_removed(directory: Path) -> None:
    """The remover is no child of ours: its end shows in the directory alone."""
    for _ in range(500):
        if not directory.exists():
            return
        time.sleep(0.02)
    raise AssertionError(f"{directory} is still there")
