"""What SIGKILL leaves behind."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from key_house import House

from sidecar.keys.ledger import REPLAYED, VALID
from sidecar.keys.messages import IssueKey, Judged, VerifyKey

TRIPLE = ("capulet.example", "montague.example", "S1")

USE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from key_house import House
house = House(Path(sys.argv[1]))
key = house.issue(*sys.argv[2:5]).key
if sys.argv[5] == "used":
    assert house.verify(key, *sys.argv[2:5]).outcome == "valid"
print(key, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("before", "verdict"), [("used", REPLAYED), ("unused", VALID)])
def test_key_used_before_the_kill_is_a_replay_after_the_repeat_window(tmp_path, before, verdict):
    """The unused one shows that the use is all that makes the difference."""
    ran = subprocess.run(
        [sys.executable, "-c", USE_AND_DIE, str(tmp_path), *TRIPLE, before],
        cwd=Path(__file__).parent,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    key = ran.stdout.strip()
    house = House(tmp_path)
    house.now_ms += house.limits.repeat_ms + 1_000
    assert house.verify(key, *TRIPLE) is verdict
    house.close()


def test_repeat_within_the_window_is_valid_though_keyd_was_killed_between(keyd):
    keyd.start()
    key = keyd.ask(IssueKey(*TRIPLE)).key
    keyd.ask(VerifyKey(*TRIPLE, key))
    keyd.kill()
    keyd.start()
    assert "not stopped cleanly" in keyd.log.read_text()
    assert keyd.ask(VerifyKey(*TRIPLE, key)) == VALID


def test_key_issued_before_the_kill_is_valid_and_no_other_is(keyd):
    keyd.start()
    key = keyd.ask(IssueKey(*TRIPLE)).key
    ended = ("capulet.example", "montague.example", "S2")
    other = keyd.ask(IssueKey(*ended)).key
    keyd.kill()
    keyd.start()
    assert keyd.ask(VerifyKey(*ended, key)) == Judged("invalid", "key-wrong")
    assert keyd.ask(VerifyKey(*ended, other)) == VALID
