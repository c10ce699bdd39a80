"""`check link` without a daemon: the links are tried from here."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sidecar.cli import main
from sidecar.lab.network import Network
from sidecar.lab.prosody_config import ExternalComponent, ProsodySettings
from sidecar.lab.sidecar import ENVIRONMENT, command

JID = "dialback.capulet.example"


def _config(folder: Path, host: str, port: int, secret: str = "s3cr3t") -> Path:
    file = folder / "secret"
    file.touch(mode=0o600)
    file.write_text(secret)
    path = folder / "sidecar.toml"
    path.write_text(
        f'state_directory = "state"\n[[link]]\njid = "{JID}"\nhost = "{host}"\nport = {port}\n'
        'secret_file = "secret"\ndomains = ["capulet.example"]\n'
    )
    return path


async def _check(path: Path, *more: str) -> Result:
    arguments = ["check", "link", "--config", str(path), *more]
    return await asyncio.to_thread(CliRunner().invoke, main, arguments)


async def test_server_that_does_not_listen_is_told_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        result = await _check(_config(tmp_path, "127.0.0.1", port))
    assert result.exit_code == 1
    assert f"link {JID}: nothing listens on 127.0.0.1 port {port}; is the server" in result.output
    assert "the daemon does not run" in result.output


async def test_what_is_wrong_is_told_once(tmp_path: Path) -> None:
    """What the link logs meanwhile is for the log of a daemon."""
    argv = command("dialback-sidecar", "check", "link", "--config", _config(tmp_path, "::1", 1))
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=ENVIRONMENT,
    )
    output, log = await process.communicate()
    assert (process.returncode, log) == (1, b"")
    assert output.count(f"link {JID}: ".encode()) == 1


@pytest.mark.interop
async def test_real_server_is_up_and_a_wrong_secret_is_named(
    tmp_path: Path, network: Network
) -> None:
    settings = ProsodySettings(
        ["capulet.example"], {}, components=[ExternalComponent(JID, "s3cr3t")]
    )
    prosody = await network.prosody(settings)
    where = (prosody.address, prosody.component_port)
    result = await _check(_config(tmp_path, *where))
    assert (result.exit_code, result.output.splitlines()[0]) == (0, f"link {JID}: up")
    result = await _check(_config(tmp_path, *where, secret="wrong"), "--json")
    assert result.exit_code == 1
    (link,) = json.loads(result.stdout)["links"]
    assert "compare component_secret" in link["fault"]
