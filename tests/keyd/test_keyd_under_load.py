"""Rotation, kills and full disks under a running load: no honest key is lost, none is forged.

DIALBACK_SOAK=1 makes it a minute of rotation and a hundred kills.
"""

import os
import random
import subprocess
import threading
import time
from contextlib import suppress

import pytest
from keyd_process import KeydProcess

from sidecar.keys.ledger import VALID
from sidecar.keys.messages import (
    Changed,
    Failed,
    GetStatus,
    IssueKey,
    KeyIssued,
    ListVersions,
    RevokeSecret,
    RotateSecret,
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
        assert (revoked.count, revoked.successor) == (1, 2)
        verdict = keyd.ask(VerifyKey("mantua.example", "montague.example", "S1", other))
        assert verdict.outcome == "invalid"
        for _ in range(20):  # others take what room each of them leaves
            with suppress(OSError), fill.open("ab", buffering=0) as file:
                while True:
                    file.write(b"x" * 512)
            assert keyd.ask_admin(RevokeSecret("mantua.example")).successor is not None
        keyd.kill()
        keyd.start()
        answer = keyd.ask(VerifyKey(*triple("S1"), key))  # what was open has made some room
        assert answer in (VALID, Failed("journal-failed"))
        fill.unlink()
        assert isinstance(keyd.ask(IssueKey(*triple("S2"))), KeyIssued)
        assert keyd.ask(VerifyKey(*triple("S1"), key)) == VALID
    finally:
        keyd.close()


@pytest.fixture
def frozen_disk(tmp_path):
    """Makes the state directory and every file in it refuse writes, open ones too; and heals it."""
    state = tmp_path / "state"

    def freeze(flag):
        every = [str(path) for path in [state, *state.rglob("*")] if not path.is_socket()]
        return subprocess.run(["chattr", flag, *every], check=False, capture_output=True)

    yield freeze
    freeze("-i")


def test_disk_that_takes_no_writes_gives_errors_and_heals_without_a_restart(keyd, frozen_disk):
    keyd.start("--rotate-every", "4s")
    key = keyd.ask(IssueKey(*triple("S1"))).key
    leaked = keyd.ask(IssueKey("mantua.example", "montague.example", "S1")).key
    if frozen_disk("+i").returncode != 0:
        pytest.skip("needs a file system with immutable files, and the right to make them")
    journal_failed, store_failed = Failed("journal-failed"), Failed("store-failed")
    mantua = VerifyKey("mantua.example", "montague.example", "S1", leaked)
    assert keyd.ask(IssueKey(*triple("S2"))) == journal_failed
    assert keyd.ask(VerifyKey(*triple("S1"), key)) == journal_failed
    assert keyd.ask(IssueKey("new.example", "montague.example", "S1")) == store_failed
    assert keyd.ask_admin(RotateSecret("capulet.example")) == store_failed
    assert keyd.ask_admin(RevokeSecret("mantua.example")) == store_failed
    assert keyd.ask(mantua).outcome == "invalid"
    assert {each.code for each in keyd.ask_admin(GetStatus()).alarms} >= {
        "journal-failed",
        "store-failed",
    }
    while "versions" not in {each.subject for each in keyd.ask_admin(GetStatus()).alarms}:
        time.sleep(0.05)  # a rotation comes due meanwhile
    frozen_disk("-i")
    assert keyd.ask(VerifyKey(*triple("S1"), key)) == VALID
    assert isinstance(keyd.ask(IssueKey(*triple("S2"))), KeyIssued)
    while states(keyd, "mantua.example")[:2] != ["revoked", "active"]:
        time.sleep(0.05)
    while states(keyd, "capulet.example").count("active") != 1:
        time.sleep(0.05)
    keyd.kill()
    keyd.start()
    assert keyd.ask(mantua).outcome == "invalid"
    assert keyd.ask(VerifyKey(*triple("S1"), key)) == VALID


def states(keyd, domain):
    return [each.state for each in keyd.ask_admin(ListVersions(domain)).versions]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount a file system")
def test_keyd_refuses_to_start_on_a_read_only_file_system_and_starts_on_the_same_later(
    small_disk, tmp_path
):
    keyd = KeydProcess(tmp_path)
    keyd.state = small_disk / "state"
    try:
        keyd.start()
        key = keyd.ask(IssueKey(*triple("S1"))).key
        keyd.stop()
        remount(small_disk, "ro")
        keyd.start(wait=False)
        assert keyd.process.wait(30) == 1
        assert "Read-only file system" in keyd.log.read_text()
        remount(small_disk, "rw")
        keyd.start()
        assert keyd.ask(VerifyKey(*triple("S1"), key)) == VALID
    finally:
        keyd.close()


def remount(path, mode):
    subprocess.run(["mount", "-o", f"remount,{mode}", str(path)], check=True)
