"""What every command has: an example that can be typed, 80 columns, JSON where it prints data."""

from __future__ import annotations

import asyncio
import os
import pty
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sidecar.cli import main
from sidecar.lab.sidecar import ENVIRONMENT, command

WITHOUT_DATA = {
    "serve": "runs until it is told to stop, and logs",
    "demo": "tells a story",
}
"""Commands that print no data, each with the reason."""


def _leaves(group: click.Group, *words: str) -> Iterator[tuple[str, click.Command]]:
    for name, each in group.commands.items():
        if isinstance(each, click.Group):
            yield from _leaves(each, *words, name)
        else:
            yield " ".join((*words, name)), each


COMMANDS = dict(_leaves(main))


def _groups(group: click.Group, *words: str) -> Iterator[tuple[str, ...]]:
    yield words
    for name, each in group.commands.items():
        if isinstance(each, click.Group):
            yield from _groups(each, *words, name)


def _help(words: str) -> str:
    result = CliRunner().invoke(main, [*words.split(), "--help"], terminal_width=80)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("words", COMMANDS)
def test_help_shows_an_example_that_can_be_typed(words: str) -> None:
    shown = " ".join(_help(words).split())
    found = re.search(rf"Example: dialback-sidecar {words}(.*?) Options:", shown)
    assert found, shown
    parsed = COMMANDS[words].make_parser(click.Context(COMMANDS[words]))
    parsed.parse_args(found[1].split())


@pytest.mark.parametrize("words", [*COMMANDS, *(" ".join(each) for each in _groups(main))])
def test_help_fits_80_columns_and_explains_each_option(words: str) -> None:
    shown = _help(words)
    assert max(map(len, shown.splitlines())) <= 80, shown
    if words in COMMANDS:
        for parameter in COMMANDS[words].params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{words}: {parameter.opts}"
    for line in shown.partition("Commands:")[2].splitlines():
        assert not line.endswith("..."), f"a summary that does not fit: {line}"


@pytest.mark.parametrize("words", sorted(set(COMMANDS) - set(WITHOUT_DATA)))
def test_data_is_printed_as_json_on_request(words: str) -> None:
    assert "--json" in {name for each in COMMANDS[words].params for name in each.opts}


def test_exceptions_are_commands() -> None:
    assert set(WITHOUT_DATA) <= set(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS)
def test_wrong_option_ends_with_status_2(words: str) -> None:
    result = CliRunner().invoke(main, [*words.split(), "--no-such-option"])
    assert result.exit_code == 2
    assert "No such option" in result.output


async def test_what_takes_long_shows_a_sign_of_life_on_a_terminal_alone(tmp_path: Path) -> None:
    """A key service that answers after a while: a line meanwhile, and none in a pipe."""
    path = tmp_path / "admin.sock"
    waited = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        await asyncio.wait([asyncio.ensure_future(waited.wait())], timeout=5)
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    argv = command("dialback-sidecar", "secret", "list", "--admin-socket", path)
    environment = {**ENVIRONMENT, "TERM": "xterm", "PATH": os.environ["PATH"]}
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    async with asyncio.timeout(30):
        while b"asking the key service" not in shown:
            shown += await asyncio.to_thread(os.read, ours, 4096)
        waited.set()
        await process.wait()
    os.close(ours)

    piped = await asyncio.create_subprocess_exec(
        *argv,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
    )
    output, _ = await piped.communicate()
    assert piped.returncode == 1
    assert b"asking" not in output and b"\x1b" not in output
    server.close()
