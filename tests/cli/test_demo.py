from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sidecar.lab.ejabberd import require_ejabberd
from sidecar.lab.prosody import require_prosody
from sidecar.lab.sidecar import ENVIRONMENT, command

pytestmark = pytest.mark.interop


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Where the demo puts everything; afterwards nothing of it may be there, or running.

    Not `tmp_path`, which is too long for the sockets below it.
    """
    require_prosody()
    require_ejabberd()
    with TemporaryDirectory(prefix="demo-") as name:
        directory = Path(name)
        yield directory
        deadline = time.monotonic() + 20  # what dies with the demo dies a moment later
        while left := [*map(str, directory.iterdir()), *_processes_of(directory)]:
            if time.monotonic() > deadline:
                pytest.fail(f"the demo left behind: {left}")
            time.sleep(0.02)


def _processes_of(directory: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            cwd = str((process / "cwd").readlink())
        except OSError:
            continue
        if str(directory) in arguments or cwd.startswith(str(directory)):
            found.append(f"{process.name} {arguments}")
    return found


def _start(scratch: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(part) for part in command("dialback-sidecar", "demo", *options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        env=os.environ | ENVIRONMENT | {"TMPDIR": str(scratch)},
    )


@pytest.mark.parametrize("options", [[], ["--stock"]], ids=["both bolted on", "stock ejabberd"])
def test_demo_delivers_both_messages_and_ends(scratch: Path, options: list[str]) -> None:
    demo = _start(scratch, "--once", *options)
    output, _ = demo.communicate(timeout=120)
    assert demo.returncode == 0, output
    assert 'romeo@montague.example received "Art thou not Romeo?" after' in output
    assert 'juliet@capulet.example received "Neither, fair saint." after' in output
    decided = [line.split("who decided: ")[1] for line in output.splitlines() if "who dec" in line]
    if not options:
        assert decided == ["issue sidecar, verify sidecar, check sidecar"] * 2
    else:
        assert decided == [
            "issue sidecar, verify sidecar, check ejabberd",
            "issue ejabberd, verify ejabberd, check sidecar",
        ]
    assert max(map(len, output.splitlines())) <= 80


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda n: n.name
)
@pytest.mark.parametrize("when", ["starting", "Ctrl-C"], ids=["starting", "standing"])
def test_demo_leaves_nothing_when_it_is_ended(
    scratch: Path, number: signal.Signals, when: str
) -> None:
    demo = _start(scratch)
    assert demo.stdout is not None
    assert any(when in line for line in demo.stdout)
    demo.send_signal(number)
    demo.communicate(timeout=60)
    assert demo.returncode in (128 + number, -number)


def test_commands_that_the_demo_names_work_while_it_stands(scratch: Path) -> None:
    demo = _start(scratch)
    assert demo.stdout is not None
    told = []
    for line in demo.stdout:
        told.append(line)
        if line.startswith("Decisions of the sidecar"):
            break
    start = next(number for number, line in enumerate(told) if "as its operator does" in line)
    typed = "".join(line for line in told[start + 1 :][:4])
    for line in typed.splitlines():
        assert line.split()[0] in ("export", "dialback-sidecar")
    program = " ".join(shlex.quote(str(part)) for part in command("dialback-sidecar"))
    function = f'dialback-sidecar() {{ {program} "$@"; }}'
    ended = subprocess.run(
        ["bash", "-ec", f"{function}\n{typed}\ndialback-sidecar secret list"],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | ENVIRONMENT,
    )
    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert "dialback.montague.example  connected" in ended.stdout
    assert ended.stdout.count("valid") >= 4
    assert ended.stdout.count("rotates ") == 2


def test_demo_names_every_server_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "sh").symlink_to("/bin/sh")
    demo = subprocess.run(
        [str(part) for part in command("dialback-sidecar", "demo", "--once")],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | ENVIRONMENT | {"PATH": str(tmp_path)},
    )
    assert demo.returncode == 1
    first, second = demo.stderr.splitlines()
    assert first == "demo: prosody is not installed (Debian: apt-get install -y prosody)"
    assert "is not installed (Debian: apt-get install -y e" in second
