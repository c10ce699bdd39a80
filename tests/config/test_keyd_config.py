"""`[keyd]`: what a key service of the daemon's own is started with."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.config import Config, parse
from sidecar.config.keyd import MAX_KEY_LIFETIME, KeydConfig
from sidecar.durations import Duration
from sidecar.errors import ConfigError
from sidecar.keyd.options import parse as parse_options
from sidecar.keys.limits import MAX_LIFETIME_MS

NEEDED = ["--state-directory", "state", "--socket", "socket"]


def keyd(text: str, folder: Path) -> Config:
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text("s3cr3t")
    link = '[[link]]\njid = "d.example"\nsecret_file = "secret"\ndomains = ["a.example"]\n'
    return parse(f"{link}[keyd]\n{text}", folder=folder)


def test_defaults_are_those_of_the_key_service_itself() -> None:
    assert vars(parse_options([*NEEDED, *KeydConfig().options])) == vars(parse_options(NEEDED))
    assert MAX_KEY_LIFETIME.ms == MAX_LIFETIME_MS


def test_key_service_refuses_a_lifetime_that_its_ledger_cannot_hold(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert parse_options([*NEEDED, "--key-lifetime", "4h"]).key_lifetime == MAX_LIFETIME_MS
    with pytest.raises(SystemExit):
        parse_options([*NEEDED, "--key-lifetime", "14401s"])
    assert "expected at most 4h" in capsys.readouterr().err


def test_every_key_is_an_option_of_the_key_service(tmp_path: Path) -> None:
    config = keyd(
        'rotate_every = "6h"\nkey_lifetime = "90s"\nmax_entries = 10\nmax_domains = 11\n'
        "max_entries_per_domain = 12\nmax_entries_per_zone = 13\n",
        tmp_path,
    )
    options = parse_options([*NEEDED, *config.keyd.options])
    assert (options.rotate_every, options.key_lifetime) == (6 * 3_600_000, 90_000)
    assert (options.max_entries, options.max_domains) == (10, 11)
    assert (options.max_entries_per_domain, options.max_entries_per_zone) == (12, 13)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('rotate_every = "soon"', "keyd.rotate_every: expected a time such as 30m or 24h"),
        ("rotate_every = 5", "keyd.rotate_every: expected a text, got a number"),
        ('key_lifetime = "5h"', "keyd.key_lifetime: expected at most 4h, got 5h"),
        ("max_entries = 0", "keyd.max_entries: expected a whole number >= 1"),
        ("rotate = 5", "keyd.rotate: unknown key; known here: socket, rotate_every"),
        (
            'socket = "keyd.sock"\nmax_domains = 5',
            "keyd.max_domains: the key service at keyd.socket has this on its own command line: "
            "--max-domains",
        ),
    ],
)
def test_what_cannot_be_is_told_with_its_place(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        keyd(text, tmp_path)
    assert problem in str(caught.value)


@pytest.mark.parametrize("text", ["90s", "30m", "24h", "7d", "36h", "100s"])
def test_time_is_written_as_it_is_read(text: str) -> None:
    written = str(Duration.parse(text))
    assert Duration.parse(written) == Duration.parse(text)
    assert len(written) <= len(text)


@pytest.mark.parametrize("text", ["", "5", "h", "0s", "-1h", "1.5h", "1w", "٣h", "1h\n", "1" * 9])
def test_what_is_no_time_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        keyd(f"rotate_every = '''{text}'''", tmp_path)
