"""`[authority]`: what is refused before anything listens, and what its defaults are."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.config import parse
from sidecar.errors import ConfigError
from sidecar.lab.certificates import self_signed
from sidecar.names import Domain


@pytest.fixture
def certificate(tmp_path: Path) -> str:
    crt, key = self_signed("capulet.example").write(tmp_path, "shown")
    return f'[[certificate]]\ndomains = ["*"]\ncertificate = "{crt}"\nkey = "{key}"\n'


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [str(problem) for problem in caught.value.problems]


def test_listener_needs_no_link_but_domains_and_a_certificate(certificate: str) -> None:
    config = parse(
        f'{certificate}[authority]\nlisten = ["[::1]:5269"]\ndomains = ["capulet.example"]\n'
    )
    assert config.link == ()
    assert config.authority.enabled
    assert not config.authority.allow_cleartext
    assert config.authority.domains is not None
    assert config.authority.domains.speaks_for(Domain.parse("Capulet.example"))


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('listen = ["*:5269"]', "authority.listen[1]: expected IP, IP:port or [IPv6]:port"),
        ('listen_tls = ["127.0.0.1:0"]', "authority.listen_tls[1]: expected IP, IP:port or"),
        ('listen = ["127.0.0.1"]', "authority.domains: is missing; there is no [[link]]"),
        ("", "link: expected at least one [[link]], or an [authority] that listens"),
        ("connections = 0", "authority.connections: expected a whole number >= 1"),
        ("domains = []", "authority.domains: expected at least one domain, or '*'"),
        ("bogus = 1", "authority.bogus: unknown key; known here: listen, listen_tls, domains"),
    ],
)
def test_problem_of_the_table_is_named_with_its_place(table: str, problem: str) -> None:
    assert any(each.startswith(problem) for each in problems(f"[authority]\n{table}\n"))


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ("", True),
        ("allow_cleartext = true", False),
        ('allow_cleartext = true\nlisten_tls = ["127.0.0.1"]', True),
    ],
    ids=["TLS required", "cleartext allowed", "direct TLS as well"],
)
def test_listener_without_a_certificate_can_only_speak_in_the_clear(
    options: str, refused: bool
) -> None:
    text = f'[authority]\nlisten = ["127.0.0.1"]\ndomains = ["capulet.example"]\n{options}\n'
    if refused:
        assert problems(text) == [
            "authority: TLS needs a [[certificate]]; without one: listen only, "
            "and allow_cleartext = true"
        ]
    else:
        assert parse(text).authority.enabled


def test_domains_without_a_listener_are_no_reason_to_start() -> None:
    assert problems('[authority]\ndomains = ["capulet.example"]\n') == [
        "link: expected at least one [[link]], or an [authority] that listens"
    ]


def test_domains_of_the_listener_are_domains_of_ours(certificate: str) -> None:
    table = '[authority]\nlisten = ["127.0.0.1"]\ndomains = ["capulet.example"]\n'
    (domains,) = parse(certificate + table).domains
    assert domains.patterns == ("capulet.example",)
