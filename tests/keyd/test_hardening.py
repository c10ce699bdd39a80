"""What a running keyd has done to its own process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from keyd_process import KeydProcess

from sidecar.keyd import hardening
from sidecar.keyd.hardening import RunsAsRoot, refuse_root
from sidecar.keys.messages import GetStatus, IssueKey

TRIPLE = ("capulet.example", "montague.example", "S1")


def status_of(keyd: KeydProcess) -> dict[str, str]:
    lines = Path(f"/proc/{keyd.process.pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_keyd_gains_no_privileges_and_dumps_no_core(running_keyd):
    assert status_of(running_keyd)["NoNewPrivs"] == "1"
    limits = Path(f"/proc/{running_keyd.process.pid}/limits").read_text()
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]


def test_keyd_locks_its_memory_where_it_may(running_keyd):
    locked = int(status_of(running_keyd)["VmLck"].split()[0]) > 0
    assert running_keyd.ask_admin(GetStatus()).memory_locked is locked


def test_keyd_killed_by_a_signal_that_dumps_leaves_no_core(running_keyd):
    running_keyd.ask(IssueKey(*TRIPLE))
    running_keyd.process.send_signal(6)
    assert running_keyd.process.wait(30) == -6
    assert [path for path in Path.cwd().glob("core*") if path.is_file()] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_process_of_the_same_user_cannot_read_keyds_memory(tmp_path):
    script = (
        "import os, sys\n"
        "from sidecar.keyd.hardening import harden\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "harden()\n"
        "print(os.getpid(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    reader = (
        "import os, sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        "    open(f'/proc/{sys.argv[1]}/mem', 'rb')\n"
        "except PermissionError:\n"
        "    sys.exit(7)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as hardened:
        pid = hardened.stdout.readline().strip()
        assert pid
        assert subprocess.run([sys.executable, "-c", reader, pid], check=False).returncode == 7
        hardened.stdin.close()


def test_root_is_refused_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr(hardening.os, "geteuid", lambda: 0)
    with pytest.raises(RunsAsRoot, match="--allow-root"):
        refuse_root(allowed=False)
    refuse_root(allowed=True)
    monkeypatch.setattr(hardening.os, "geteuid", lambda: 1000)
    refuse_root(allowed=False)
