"""`serve` and `check config` with a configuration that cannot be used: words, and status 2."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from sidecar.lab.sidecar import ENVIRONMENT, command

BAD = """
[[link]]
jid = "dialback.capulet.example"
secret_file = "nowhere"
domains = ["capulet.example", "p@q"]
host = "192.0.2.1"
colour = "red"
"""
PLACES = ["link[1].secret_file", "link[1].domains", "link[1].host", "link[1].colour"]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [str(part) for part in command("dialback-sidecar", *arguments)]
    return subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("words", [["serve"], ["check", "config"]], ids=" ".join)
def test_bad_configuration_lists_every_problem_and_ends_with_status_2(
    words: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "sidecar.toml"
    path.write_text(BAD)
    ended = run(*words, "--config", path)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert f"{path}: 4 problems" in ended.stderr
    for place in PLACES:
        assert f"  {place}: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_problems_are_told_as_json_too(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.toml"
    path.write_text(BAD)
    ended = run("check", "config", "--json", "--config", path)
    assert (ended.returncode, ended.stderr) == (2, "")
    told = json.loads(ended.stdout)
    assert told["file"] == str(path)
    assert {each["place"] for each in told["problems"]} == set(PLACES)
    assert all(each["text"] for each in told["problems"])


def test_good_configuration_is_told_with_status_0(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cr3t")
    secret.chmod(0o600)
    path = tmp_path / "sidecar.toml"
    path.write_text(
        '[[link]]\njid = "dialback.capulet.example"\nsecret_file = "secret"\n'
        'domains = ["capulet.example"]\n'
    )
    ended = run("check", "config", "--config", path)
    assert ended.returncode == 0
    assert "all right" in ended.stdout and "s3cr3t" not in ended.stdout
    told = run("check", "config", "--json", "--config", path)
    assert told.returncode == 0
    assert json.loads(told.stdout) == {
        "file": str(path),
        "problems": [],
        "links": [
            {
                "jid": "dialback.capulet.example",
                "host": "127.0.0.1",
                "port": 5347,
                "domains": ["capulet.example"],
            }
        ],
        "authority": None,
        "key_service": None,
    }


def test_configuration_with_a_listener_and_no_link_is_told(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.toml"
    path.write_text(
        '[authority]\nlisten = ["127.0.0.1"]\nallow_cleartext = true\n'
        'domains = ["capulet.example", "*.capulet.example"]\n'
    )
    ended = run("check", "config", "--config", path)
    assert ended.returncode == 0
    assert "authority on 127.0.0.1\n" in ended.stdout
    assert "answers for capulet.example, *.capulet.example\n" in ended.stdout
    told = json.loads(run("check", "config", "--json", "--config", path).stdout)
    assert told["authority"] == {
        "listen": ["127.0.0.1"],
        "listen_tls": [],
        "domains": ["capulet.example", "*.capulet.example"],
    }
    assert told["links"] == []


WHERE_WE_CANNOT_LOOK = Path("x" * 300)
"""Also as root: the kernel takes no such name."""


@pytest.mark.parametrize(
    "words",
    [
        *(["status"], ["check", "config"], ["check", "link"], ["probe", "example.net"]),
        *(["serve"], ["secret", "list"], ["kek", "rotate"], ["backup", "file"]),
    ],
    ids=" ".join,
)
def test_file_that_cannot_be_looked_at_is_said_in_words(words: list[str]) -> None:
    ended = run(*words, "--config", WHERE_WE_CANNOT_LOOK)
    assert ended.returncode == 2
    assert "cannot be read" in ended.stderr and "hint: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_secrets_are_asked_for_where_the_configuration_leads(tmp_path: Path) -> None:
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text("s3cr3t")
    path = tmp_path / "sidecar.toml"
    link = '[[link]]\njid = "dialback.capulet.example"\nsecret_file = "secret"\ndomains = ["*"]\n'
    for written, socket in (
        ('state_directory = "state"\n' + link, tmp_path / "state/keyd/admin.sock"),
        ('[keyd]\nsocket = "keyd.sock"\n' + link, Path("/var/lib/dialback-keyd/admin.sock")),
    ):
        path.write_text(written)
        argv = [str(part) for part in command("dialback-sidecar", "secret", "list")]
        environment = {**ENVIRONMENT, "DIALBACK_SIDECAR_CONFIG": str(path)}
        for more, variables in (([], environment), (["--config", str(path)], ENVIRONMENT)):
            ended = subprocess.run(
                [*argv, *more], env=variables, capture_output=True, text=True, timeout=60
            )
            assert ended.returncode == 1
            assert ended.stderr.startswith(f"error: {socket}: there is no such socket")
