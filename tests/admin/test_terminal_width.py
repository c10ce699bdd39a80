"""What commands print fits 80 columns, with names as long and as wide as they come."""

from __future__ import annotations

import asyncio
import unicodedata

import pytest
from click.testing import CliRunner
from daemon_process import Daemon

from sidecar.cli import main

OURS = "strasse-der-bücherfreunde.unterabteilung-ä.gesellschaft-für-xmpp.example"
PEER = "очень-длинное-имя-для.подразделение.组织机构名称很长.example"
pytestmark = pytest.mark.asyncio(loop_scope="module")

COMMANDS = (
    *("status", "handshake list", "peer list", "peer rules", f"peer show {PEER}"),
    *("token list", "domain list", f"domain show {OURS}", "secret list", f"secret list {OURS}"),
)


def _columns(line: str) -> int:
    """Cells of a terminal: two for wide characters, none for what is put on the one before."""
    wide = sum(unicodedata.east_asian_width(each) in "WF" for each in line)
    return len(line) + wide - sum(bool(unicodedata.combining(each)) for each in line)


async def _fill(daemon: Daemon) -> None:
    await daemon.make_secret(OURS)
    imported = {"secret": "prosody's own", "days": 30}
    await daemon.ask("POST", f"/v1/domains/{OURS}/secrets/import", json=imported)
    for number in range(3):
        await daemon.ask("POST", f"/v1/domains/{OURS}/secrets/rotate")
        body = {"sender": PEER, "target": "capulet.example", "stream": f"S{number}", "key": "b4"}
        assert (await daemon.ask("POST", "/v1/checks", json=body)).status == 200
    scopes = ["status:read", "handshakes:read", "secrets:write", "metrics:read"]
    token = {"name": "a token with a long name " * 3, "scopes": scopes, "domains": [OURS]}
    assert (await daemon.ask("POST", "/v1/tokens", json={**token, "days": 3650})).status == 201
    rule = {"action": "deny", "reason": "they keep on sending what nobody wants to read " * 2}
    assert (await daemon.ask("PUT", f"/v1/peers/{PEER}", json=rule)).status in (200, 201)


async def test_every_table_and_every_list_of_fields(shared_daemon: Daemon) -> None:
    await _fill(shared_daemon)
    for words in COMMANDS:
        where = ["--config", str(shared_daemon.config_path)]
        if words.startswith("secret"):
            where = ["--admin-socket", str(shared_daemon.state / "keyd" / "admin.sock")]
        arguments = [*words.split(), *where]
        result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
        assert result.exit_code == 0, result.output
        wide = [line for line in result.output.splitlines() if _columns(line) > 80]
        assert not wide, f"{words}\n{result.output}"
