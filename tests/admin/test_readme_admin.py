"""The README's section about the admin side, typed line by line against a running daemon."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import socket
from pathlib import Path

from daemon_process import Daemon

from sidecar.lab.faults import Missing
from sidecar.lab.sidecar import ENVIRONMENT, command

README = Path(__file__).parents[2] / "README.md"
ENDLESS = ("dialback-sidecar watch", "api /v1/events")
DOMAIN = "example.org"


def _lines() -> list[str]:
    section = README.read_text().split("## Watch it\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wrapper(folder: Path) -> None:
    """`dialback-sidecar` as it would be installed."""
    path = folder / "dialback-sidecar"
    words = [shlex.quote(str(word)) for word in command("dialback-sidecar")]
    path.write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
    path.chmod(0o755)


async def _type(line: str, before: str, environment: dict[str, str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *("timeout", "15", "bash", "-c", f"{before}\n{line}"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_every_line_of_the_section_does_what_it_says(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        raise Missing("curl", "curl")
    address = f"127.0.0.1:{_free_port()}"
    async with Daemon(tmp_path, listen=address) as daemon:
        await daemon.make_secret(DOMAIN)
        _wrapper(tmp_path)
        environment = {
            **os.environ,
            **ENVIRONMENT,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "DIALBACK_SIDECAR_CONFIG": str(daemon.config_path),
        }
        before = ""
        typed = 0
        for written in _lines():
            line = written.replace("127.0.0.1:5290", address)
            line = line.replace("/var/lib/dialback-sidecar", str(daemon.state))
            if line.startswith(("token=", "api()")):
                before += line + "\n"
                continue
            endless = line.startswith(ENDLESS)
            if endless:
                line = f"export -f api 2>/dev/null; timeout 2 bash -c {shlex.quote(line)}"
                line = f"export token; {line}"
            status, output = await _type(line, before, environment)
            no_server = line.startswith("dialback-sidecar check link")  # here there is none
            expected = 124 if endless else int(no_server)
            assert status == expected, f"{written}\n{output}"
            assert "urn:dialback-sidecar:problem" not in output, f"{written}\n{output}"
            assert output or endless, written
            typed += 1
        assert typed >= 15
