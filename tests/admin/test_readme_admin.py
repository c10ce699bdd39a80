"""The README's sections about the admin side, and the API's page, typed line by line against a
running demo.

Whatever is added there, in a block of `sh`, is typed as well.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import socket
from pathlib import Path

from sidecar.lab.demo.stage import CAPULET, MONTAGUE, Stage, set_up
from sidecar.lab.faults import Missing
from sidecar.lab.sidecar import ENVIRONMENT, command

_REPOSITORY = Path(__file__).parents[2]
README, API = _REPOSITORY / "README.md", _REPOSITORY / "docs" / "api.md"
ENDLESS = ("dialback-sidecar watch", "api /v1/events")
FINDS_FAULT = ("dialback-sidecar probe", "dialback-sidecar check dns", "dialback-sidecar check tls")
"""The demo's certificates are self-signed, and its names have no address: status 1 is right."""
NOT_ADMIN = ("## Try it", "## Bolt it onto", "## How it works")
"""Sections that are typed elsewhere: a server is installed, bolted on, taken off."""


def _lines() -> list[str]:
    """Every command of the other sections and of the API's page, continued lines made one."""
    sections = re.split(r"^(?=## )", README.read_text(), flags=re.MULTILINE)[1:]
    wanted = "".join(each for each in sections if not each.startswith(NOT_ADMIN))
    wanted += API.read_text()
    blocks = "".join(re.findall(r"```sh\n(.*?)```", wanted, re.DOTALL))
    return [line for line in blocks.replace("\\\n", " ").splitlines() if line]


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
        *("timeout", "60", "bash", "-c", f"{before}\n{line}"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def _shake_hands(stage: Stage) -> None:
    stage.juliet.send(stage.romeo.jid, "Art thou not Romeo?")
    await stage.romeo.receive(timeout_seconds=60)


async def test_every_line_of_the_admin_sections_does_what_it_says(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        raise Missing("curl", "curl")
    address = f"127.0.0.1:{_free_port()}"
    async with set_up(ejabberd_too=True, listen=[address]) as stage:
        await _shake_hands(stage)
        _wrapper(tmp_path)
        state = stage.sidecar.state_directory
        environment = {
            **os.environ,
            **ENVIRONMENT,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "DIALBACK_SIDECAR_CONFIG": str(stage.sidecar.config_path),
        }
        before = ""
        typed = 0
        for written in _lines():
            line = written
            for ours, real in (
                ("127.0.0.1:5290", address),
                ("/var/lib/dialback-sidecar", str(state)),
                ("example.org", CAPULET),
                ("example.net", MONTAGUE),
            ):
                line = line.replace(ours, real)
            if line.startswith(("token=", "api()")):
                before += line + "\n"
                continue
            endless = line.startswith(ENDLESS)
            if endless:
                line = f"export -f api 2>/dev/null; timeout 3 bash -c {shlex.quote(line)}"
                line = f"export token; {line}"
            status, output = await _type(line, before, environment)
            expected = {124} if endless else {0, 1} if line.startswith(FINDS_FAULT) else {0}
            assert status in expected, f"{written}\n{output}"
            assert "urn:dialback-sidecar:problem" not in output, f"{written}\n{output}"
            assert "Traceback" not in output, f"{written}\n{output}"
            assert output or endless, written
            typed += 1
        assert typed >= 30
