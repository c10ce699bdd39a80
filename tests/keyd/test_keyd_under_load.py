"""Rotation, kills and full disks under a running load: no honest key is lost, none is forged.

DIALBACK_SOAK=1 makes it a minute of rotation and a hundred kills.
"""

import os
import random
import subprocess
import threading
import time

import pytest
from keyd_process import KeydProcess

from sidecar.keys.ledger import VALID
from sidecar.keys.messages import (
    Changed,
    Failed,
    IssueKey,
    KeyIssued,
    ListVersions,
    RevokeSecret,
    VerifyKey,
)

SOAK = "DIALBACK_SOAK" in os.environ
ROTATING_SECONDS = 60 if SOAK else 8
KILLS = 100 if SOAK else 8


def triple(stream):
    return "capulet.example", "montague.example", stream


def test_rotation_every_second_fails_no_honest_key(keyd):
    """Each key is verified a while after it was issued, often under a later version."""
    keyd.start("--rotate-every", "1s", "--key-lifetime", "3s")
    waiting, verified = [], 0
    end = time.monotonic() + ROTATING_SECONDS
    with keyd.connection() as wire:
        turn = 0
        while time.monotonic() < end or waiting:
            if time.monotonic() < end:
                streams = [f"{turn}-{n}" for n in range(8)]
                replies = wire.ask([(n, IssueKey(*triple(s))) for n, s in enumerate(streams)])
                now = time.monotonic()
                waiting += [
                    (now + random.uniform(0, 2), streams[n], reply.key) for n, reply in replies
                ]
            due = [each for each in waiting if each[0] <= time.monotonic()][:100]
            waiting = [each for each in waiting if each not in due]
            verdicts = wire.ask(
                [(n, VerifyKey(*triple(each[1]), each[2])) for n, each in enumerate(due)]
            )
            assert [verdict for _, verdict in verdicts] == [VALID] * len(due)
            verified += len(due)
            turn += 1
            time.sleep(0.01)
    states = [each.state for each in keyd.ask_admin(ListVersions("capulet.example")).versions]
    assert states.count("removed") >= 2
    assert states.count("active") == 1
    assert verified >= 100


def test_kills_at_random_lose_no_handed_out_key_and_make_nothing_valid(keyd):
    handed_out, forged = [], "0" * 64
    roomy = [f"--max-entries{of}={10**7}" for of in ("", "-per-domain", "-per-zone")]
    for turn in range(KILLS):
        keyd.start("--rotate-every", "1s", *roomy)
        issued = []
        thread = threading.Thread(target=issue_until_killed, args=(keyd, turn, issued))
        thread.start()
        while not issued:
            assert thread.is_alive()
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.1))
        keyd.kill()
        thread.join(30)
        handed_out += random.sample(issued, min(len(issued), 50))
        handed_out = handed_out[-400:]
    keyd.start(*roomy)
    for stream, key in handed_out:
        assert keyd.ask(VerifyKey(*triple(stream), forged)).outcome == "invalid"
        assert keyd.ask(VerifyKey(*triple(stream), key)) == VALID


def issue_until_killed(keyd, name, issued):
    """Invariant: `issued` holds exactly the keys whose reply has arrived."""
    with keyd.connection() as wire:
        for count in range(1_000_000):
            streams = [f"{name}-{count}-{n}" for n in range(8)]
            try:
                replies = wire.ask([(n, IssueKey(*triple(s))) for n, s in enumerate(streams)])
            except OSError:
                return
            issued += [(streams[n], reply.key) for n, reply in replies]
            if len(replies) < len(streams):
                return


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB of our own."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0755", "none", str(path)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_full_disk_gives_errors_revoking_works_and_room_heals_it(small_disk, tmp_path):
    keyd = KeydProcess(tmp_path)
    keyd.state = small_disk / "state"
    keyd.admin_socket = keyd.state / "admin.sock"
    try:
        keyd.start()
        key = keyd.ask(IssueKey(*triple("S1"))).key
        other = keyd.ask(IssueKey("mantua.example", "montague.example", "S1")).key
        fill = small_disk / "fill"
        with fill.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(b"x" * 512)
        while isinstance(keyd.ask(IssueKey(*triple(f"F{random.random()}"))), KeyIssued):
            pass
        assert keyd.ask(IssueKey(*triple("S2"))) == Failed("journal-failed")
        assert keyd.ask(VerifyKey(*triple("S1"), key)) == Failed("journal-failed")
        assert keyd.ask(IssueKey("new.example", "montague.example", "S1")) == Failed("store-failed")
        revoked = keyd.ask_admin(RevokeSecret("mantua.example"))
        assert isinstance(revoked, Changed)
        assert revoked.count == 2
        verdict = keyd.ask(VerifyKey("mantua.example", "montague.example", "S1", other))
        assert verdict.outcome == "invalid"
        keyd.kill()
        keyd.start()
        answer = keyd.ask(VerifyKey(*triple("S1"), key))  # what was open has made some room
        assert answer in (VALID, Failed("journal-failed"))
        fill.unlink()
        assert isinstance(keyd.ask(IssueKey(*triple("S2"))), KeyIssued)
        assert keyd.ask(VerifyKey(*triple("S1"), key)) == VALID
    finally:
        keyd.close()
