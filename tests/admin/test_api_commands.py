"""The command line over the API of a real daemon, as its user types it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from daemon_process import LINK_JID, Daemon
from operation_samples import BODIES, OTHER, OURS

from sidecar.cli import main
from sidecar.cli.words import COMMANDS, EXCEPTIONS
from sidecar.lab.process import Process
from sidecar.lab.sidecar import ENVIRONMENT, command
from sidecar.operations import REGISTRY


async def run(daemon: Daemon, *words: str) -> Result:
    """Run one command in a thread: the daemon's output is read by this one."""
    arguments = [*words, "--config", str(daemon.config_path)]
    return await asyncio.to_thread(CliRunner().invoke, main, arguments)


async def run_json(daemon: Daemon, *words: str) -> Any:
    result = await run(daemon, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_every_operation_has_its_command_or_a_reason() -> None:
    assert set(COMMANDS) | set(EXCEPTIONS) == set(REGISTRY)
    assert not set(COMMANDS) & set(EXCEPTIONS)


def _commands(group: click.Group) -> list[click.Command]:
    found: list[click.Command] = []
    for each in group.commands.values():
        found += _commands(each) if isinstance(each, click.Group) else [each]
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_that_can_be_typed(name: str) -> None:
    words = COMMANDS[name]
    result = CliRunner().invoke(main, [*words.words, "--help"])
    assert result.exit_code == 0
    shown = " ".join(result.output.split())
    assert f"Example: {words.example}" in shown
    assert max(map(len, result.output.splitlines())) < 130
    typed = words.example.split()[1:]
    at: click.Command = main
    while isinstance(at, click.Group):
        at = at.commands[typed.pop(0)]
    at.make_parser(click.Context(at)).parse_args(typed)


async def test_status_shows_links_key_service_and_warnings(shared_daemon: Daemon) -> None:
    while (await run_json(shared_daemon, "status"))["links"][0]["fault"] is None:
        await asyncio.sleep(0.05)  # its first try is not over yet
    result = await run(shared_daemon, "status")
    assert result.exit_code == 0, result.output
    assert "NOT READY: a link is down" in result.output
    assert LINK_JID in result.output
    assert "nothing listens on 127.0.0.1 port 1" in result.output
    assert "which isolates nothing" in " ".join(result.output.split())
    found = await run_json(shared_daemon, "status")
    assert found["links"][0]["jid"] == LINK_JID


async def test_handshakes_and_peers_are_listed_and_shown(shared_daemon: Daemon) -> None:
    await shared_daemon.ask("POST", "/v1/checks", json=BODIES["checks-run"])
    result = await run(shared_daemon, "handshake", "list", "--peer", "montague.invalid")
    assert result.exit_code == 0, result.output
    assert "montague.invalid" in result.output
    assert max(map(len, result.output.splitlines())) <= 80
    listed = await run_json(shared_daemon, "handshake", "list", "--outcome", "error")
    number = listed["items"][0]["id"]
    shown = await run(shared_daemon, "handshake", "show", str(number))
    assert "condition" in shown.output
    assert "after ms" in shown.output
    assert "montague.invalid" in shown.output
    peers = await run(shared_daemon, "peer", "list")
    assert "montague.invalid" in peers.output
    nothing = await run(shared_daemon, "handshake", "list", "--peer", "nobody.example")
    assert nothing.output == "nothing yet\n"


async def test_long_list_says_how_to_go_on(shared_daemon: Daemon) -> None:
    for stream in ("A1", "A2"):
        body = BODIES["checks-run"] | {"stream": stream}
        await shared_daemon.ask("POST", "/v1/checks", json=body)
    first = await run(shared_daemon, "handshake", "list", "--limit", "1")
    option, cursor = first.output.splitlines()[-1].removeprefix("more: ").split()
    rest = await run_json(shared_daemon, "handshake", "list", option, cursor)
    assert [each["stream"] for each in rest["items"]][:1] == ["A1"]


async def test_token_is_made_used_and_revoked(shared_daemon: Daemon) -> None:
    made = await run_json(
        shared_daemon,
        *("token", "create", "ci", "--scope", "handshakes:read", "--domain", OTHER),
        *("--days", "1"),
    )
    file = shared_daemon.config_path.with_name("ci-token")
    file.write_text(made["token"])
    with_it = ("--token-file", str(file))
    listed = (await run(shared_daemon, "peer", "list", *with_it)).output
    assert listed.splitlines() == ["", "no handshake got through yet"]
    refused = await run(shared_daemon, "reload", *with_it)
    assert refused.exit_code == 1
    assert "error: The token does not have the scope for this" in refused.output
    assert "hint: use a token with that scope" in refused.output
    listed = await run(shared_daemon, "token", "list")
    assert made["facts"]["id"] in listed.output
    assert made["token"] not in listed.output
    ended = await run(shared_daemon, "token", "revoke", made["facts"]["id"])
    assert ended.exit_code == 0
    refused = await run(shared_daemon, "peer", "list", *with_it)
    assert refused.exit_code == 1
    assert "The token was revoked" in refused.output


async def test_reload_tells_what_it_took_up_or_why_not(shared_daemon: Daemon) -> None:
    text = shared_daemon.config_path.read_text()
    try:
        result = await run(shared_daemon, "reload")
        assert result.exit_code == 0, result.output
        shared_daemon.config_path.write_text(text.replace('"secret"', '"none"'))
        result = await run(shared_daemon, "reload")
        assert result.exit_code == 2
        assert "cannot read" in result.output
        assert "hint: the daemon goes on with the configuration it has" in result.output
        result = await run(shared_daemon, "status")
        assert result.exit_code == 0, result.output
    finally:
        shared_daemon.config_path.write_text(text)


async def test_what_does_not_fit_is_refused_in_words(shared_daemon: Daemon) -> None:
    wrong = await run(shared_daemon, "handshake", "list", "--since", "yesterday")
    assert wrong.exit_code == 2
    assert "(since)" in wrong.output
    assert "hint: a day alone will do too, as 2026-11-20" in wrong.output
    usage = await run(shared_daemon, "handshake", "list", "--outcome", "maybe")
    assert usage.exit_code == 2
    for words in (("domain", "show"), ("peer", "remove"), ("token", "revoke")):
        empty = await run(shared_daemon, *words, "")
        assert empty.exit_code == 2
        assert ", got nothing" in empty.output


@pytest.mark.parametrize(
    "words",
    [
        ("handshake", "show", "0"),
        ("handshake", "list", "--limit", "0"),
        ("domain", "set", OURS, "--max-entries", "0"),
        ("token", "create", "endless", "--scope", "status:read", "--days", "0"),
    ],
    ids=" ".join,
)
async def test_zero_is_refused_and_not_left_out(
    shared_daemon: Daemon, words: tuple[str, ...]
) -> None:
    result = await run(shared_daemon, *words)
    assert result.exit_code in (1, 2), result.output
    assert result.output.startswith("error: ")
    assert "endless" not in (await run(shared_daemon, "token", "list")).output


async def test_daemon_that_is_down_is_an_error_with_a_hint(shared_daemon: Daemon) -> None:
    text = shared_daemon.config_path.read_text()
    elsewhere = shared_daemon.config_path.with_name("down.toml")
    elsewhere.write_text(text.replace('directory = "state"', 'directory = "elsewhere"'))
    token = shared_daemon.config_path.with_name("some-token")
    token.write_text("dbs_x")
    for more in ((), ("--token-file", str(token))):
        arguments = ["status", "--config", str(elsewhere), *more]
        result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
        assert result.exit_code == 1
        assert "api.sock: no such file or directory" in result.output
        assert "hint: is the daemon running?" in result.output


async def test_token_that_is_not_where_it_is_looked_for_is_told_with_the_places(
    shared_daemon: Daemon, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "api.sock").symlink_to(shared_daemon.socket)
    (tmp_path / "sidecar.toml").write_text('state_directory = "state"')
    arguments = ["status", "--config", str(tmp_path / "sidecar.toml")]
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    assert result.exit_code == 1
    place = tmp_path / "state" / "keyd" / "admin-token"
    assert result.output.startswith(f"error: there is no token in {place} or /var/lib/")
    assert "--token-file" in result.output
    nowhere = f'state_directory = "{"x" * 300}"\n[admin]\nsocket = "state/api.sock"'
    (tmp_path / "sidecar.toml").write_text(nowhere)  # where nobody may look, not even root
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    assert result.exit_code == 1
    assert "/keyd/admin-token: file name too long\nhint: type this as root, or" in result.output


async def test_watch_shows_what_happens(shared_daemon: Daemon) -> None:
    await shared_daemon.make_secret(OURS)
    watching = Process(
        "watch",
        command("dialback-sidecar", "watch", "--config", shared_daemon.config_path),
        directory=shared_daemon.config_path.parent,
        environment=ENVIRONMENT,
    )
    await watching.start()
    try:
        seen = asyncio.ensure_future(
            watching.output.wait_for(f"{OURS} rotated: version", timeout_seconds=20)
        )
        while not seen.done():  # it has to be connected first
            await shared_daemon.ask("POST", f"/v1/domains/{OURS}/secrets/rotate")
            await asyncio.wait([seen], timeout=0.5)
        assert "secret" in (await seen).text
    finally:
        await watching.kill()


async def test_check_link_asks_the_daemon_that_runs(shared_daemon: Daemon) -> None:
    result = await run(shared_daemon, "check", "link")
    assert result.exit_code == 1
    assert f"link {LINK_JID}: nothing listens on 127.0.0.1 port 1" in result.output
    assert "(says the daemon)" in result.output
