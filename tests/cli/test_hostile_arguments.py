"""What is typed wrong, or cannot be shown, ends in words and a status, never in a traceback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sidecar.lab.sidecar import ENVIRONMENT, command

CHECK = ("check", "config", "--config")
CONFIG = """
[authority]
listen = ["127.0.0.1"]
allow_cleartext = true
domains = ["日本語.example"]
"""


def run(*words: str | bytes, **options: object) -> subprocess.CompletedProcess[bytes]:
    argv = [os.fsencode(part) for part in (*command("dialback-sidecar"), *words)]
    options = {"capture_output": True, "env": ENVIRONMENT, **options}
    return subprocess.run(argv, timeout=60, check=False, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "sidecar.toml"
    path.write_text(CONFIG)
    return str(path)


@pytest.mark.parametrize(
    "words",
    [
        ("domain", "show", b"\xff\xfe"),
        ("secret", "list", b"caf\xe9.example"),
        ("handshake", "list", "--peer", b"\xe9"),
        ("secret", "revoke", "a.example", "--version", "9" * 30),
        ("secret", "import", "a.example", "--secret-file", "/dev/zero"),
        ("probe", "a" * 5000),
    ],
    ids=str,
)
def test_argument_that_can_be_nothing_is_told_with_status_2(words: tuple[str | bytes, ...]) -> None:
    ended = run(*words)
    assert ended.returncode == 2
    assert b"Error: " in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_full_disk_is_told_in_words(config: str) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = run(*CHECK, config, stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert ended.returncode == 1
    assert ended.stderr == b"error: cannot write: No space left on device\n"


def test_reader_that_goes_away_is_no_news(config: str) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    ended = run(*CHECK, config, stdout=theirs, stderr=subprocess.PIPE, capture_output=False)
    os.close(theirs)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_terminal_that_knows_few_characters_gets_what_it_can_show(config: str) -> None:
    ended = run(*CHECK, config, env={**ENVIRONMENT, "PYTHONIOENCODING": "latin-1"})
    assert ended.returncode == 0, ended.stderr
    assert rb"answers for \u65e5\u672c\u8a9e.example" in ended.stdout


@pytest.mark.parametrize("content", [b"", b"\n", b"\x00\xff", b"two words", b"x" * 5000])
def test_file_that_holds_no_token_is_named(config: str, tmp_path: Path, content: bytes) -> None:
    token = tmp_path / "token"
    token.write_bytes(content)
    ended = run("status", "--config", config, "--token-file", str(token))
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: {token} holds no token\nhint: ".encode())
