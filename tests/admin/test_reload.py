"""A changed configuration file is taken up, a bad one changes nothing."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from daemon_process import LINK_JID, Daemon

SECOND = """
[[link]]
jid = "dialback.verona.example"
port = 1
secret_file = "secret"
domains = ["verona.example"]
"""


async def links(daemon: Daemon) -> dict[str, list[str]]:
    status = await daemon.ask("GET", "/v1/status")
    return {link["jid"]: link["domains"] for link in status.content["links"]}


async def test_links_come_change_and_go(tmp_path: Path) -> None:
    async with Daemon(tmp_path) as daemon:
        first = daemon.config_path.read_text()
        daemon.config_path.write_text(first + SECOND)
        answer = await daemon.ask("POST", "/v1/reload")
        assert answer.content == {
            "added": ["dialback.verona.example"],
            "removed": [],
            "changed": [],
            "restart_needed": [],
        }
        assert set(await links(daemon)) == {LINK_JID, "dialback.verona.example"}

        daemon.config_path.write_text(first.replace('"*.capulet.example"', '"more.example"'))
        answer = await daemon.ask("POST", "/v1/reload")
        assert answer.content["removed"] == ["dialback.verona.example"]
        assert answer.content["changed"] == [LINK_JID]
        assert await links(daemon) == {LINK_JID: ["capulet.example", "more.example"]}


async def test_sighup_does_the_same(tmp_path: Path) -> None:
    async with Daemon(tmp_path) as daemon:
        with daemon.config_path.open("a") as file:
            file.write(SECOND)
        daemon.process.signal(signal.SIGHUP)
        await daemon.process.output.wait_for("added dialback.verona.example", timeout_seconds=10)
        assert len(await links(daemon)) == 2


async def test_bad_file_keeps_the_configuration_and_says_why(tmp_path: Path) -> None:
    async with Daemon(tmp_path) as daemon:
        before = await links(daemon)
        with daemon.config_path.open("a") as file:
            file.write("[[link]]\njid = 5\n")
        answer = await daemon.ask("POST", "/v1/reload")
        assert (answer.status, answer.content["code"]) == (422, "config-invalid")
        places = {problem["place"] for problem in answer.content["problems"]}
        assert places == {"link[2].jid", "link[2].secret_file", "link[2].domains"}
        assert await links(daemon) == before
        daemon.process.signal(signal.SIGHUP)
        await daemon.process.output.wait_for("stays as it is", timeout_seconds=10)
        assert await links(daemon) == before


async def test_settings_that_need_a_restart_are_named(tmp_path: Path) -> None:
    async with Daemon(tmp_path) as daemon:
        with daemon.config_path.open("a") as file:
            file.write("[history]\ndays = 1\n")
        answer = await daemon.ask("POST", "/v1/reload")
        assert answer.content["restart_needed"] == ["history"]


async def test_checks_go_on_while_their_settings_change(tmp_path: Path) -> None:
    """A check that waits for DNS ends as it began; the next one uses the new servers."""
    async with Daemon(tmp_path) as daemon:
        body = {"sender": "m.invalid", "target": "capulet.example", "stream": "S", "key": "k"}
        checking = asyncio.ensure_future(daemon.ask("POST", "/v1/checks", json=body))
        await asyncio.sleep(0)
        text = daemon.config_path.read_text().replace("127.0.0.1:1", "127.0.0.1:2")
        daemon.config_path.write_text(text)
        assert (await daemon.ask("POST", "/v1/reload")).status == 200
        assert (await checking).content["outcome"] == "error"
        assert (await daemon.ask("POST", "/v1/checks", json=body)).status == 200
