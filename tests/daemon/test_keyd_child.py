"""dialback-keyd as a child: it is there, comes back, and never stays behind."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.config import KeydConfig
from sidecar.daemon.keyd_child import KeydChild
from sidecar.errors import KeyRefused
from sidecar.key_client import KeyClient
from sidecar.names import Domain, DomainPair, StreamId

PAIR = DomainPair(sender=Domain.parse("capulet.example"), target=Domain.parse("montague.example"))


async def test_child_serves_and_stops_cleanly(tmp_path):
    child = KeydChild(tmp_path)
    await child.start()
    client = KeyClient(child.socket)
    await client.start(timeout_seconds=30)
    key = await client.issue(PAIR, StreamId("S1"), timeout_seconds=30)
    pid = child.pid
    await child.close()
    assert child.pid is None
    assert not Path(f"/proc/{pid}").exists()
    assert not child.socket.exists()

    await child.start()
    await client.start(timeout_seconds=30)
    verdict = await client.verify(PAIR, StreamId("S1"), key, timeout_seconds=30)
    assert verdict.outcome.value == "valid"
    await client.close()
    await child.close()


async def test_killed_child_is_started_again(tmp_path):
    child = KeydChild(tmp_path)
    await child.start()
    client = KeyClient(child.socket)
    await client.start(timeout_seconds=30)
    first = child.pid
    os.kill(first, signal.SIGKILL)
    while client.connected:
        await asyncio.sleep(0.01)
    await client.start(timeout_seconds=30)
    assert child.pid not in (None, first)
    await client.close()
    await child.close()


async def test_child_lives_by_the_options_of_the_configuration(tmp_path):
    child = KeydChild(tmp_path, options=KeydConfig(max_entries_per_domain=1).options)
    await child.start()
    client = KeyClient(child.socket)
    await client.start(timeout_seconds=30)
    await client.issue(PAIR, StreamId("S1"), timeout_seconds=30)
    with pytest.raises(KeyRefused) as caught:
        await client.issue(PAIR, StreamId("S2"), timeout_seconds=30)
    assert caught.value.reason == "cap-sender-domain"
    await client.close()
    await child.close()


def test_child_ends_when_its_parent_is_killed(tmp_path):
    script = (
        "import asyncio, pathlib, sys\n"
        "from sidecar.daemon.keyd_child import KeydChild\n"
        "from sidecar.key_client import KeyClient\n"
        "async def main():\n"
        "    child = KeydChild(pathlib.Path(sys.argv[1]))\n"
        "    await child.start()\n"
        "    await KeyClient(child.socket).start(timeout_seconds=30)\n"
        "    print(child.pid, flush=True)\n"
        "    await asyncio.sleep(3600)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        pid = int(parent.stdout.readline())
        waiter = os.pidfd_open(pid)
        parent.kill()
        parent.wait(30)
    readable, _, _ = select.select([waiter], [], [], 30)
    os.close(waiter)
    assert readable
    assert not (tmp_path / "keyd.sock").exists()


async def test_arguments_and_environment_of_the_child_hold_no_secret(tmp_path):
    child = KeydChild(tmp_path)
    await child.start()
    client = KeyClient(child.socket)
    await client.start(timeout_seconds=30)
    key = await client.issue(PAIR, StreamId("S1"), timeout_seconds=30)
    kek = (tmp_path / "keyd" / "kek").read_text().strip()
    for name in ("cmdline", "environ"):
        shown = Path(f"/proc/{child.pid}/{name}").read_bytes()
        for hidden in (key.reveal().encode(), kek.encode(), bytes.fromhex(kek)):
            assert hidden not in shown
    await client.close()
    await child.close()
