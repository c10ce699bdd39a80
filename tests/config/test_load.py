"""`sidecar.toml`: what it may hold, and every problem in one message with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.config import load, parse
from sidecar.config.rules import split_address
from sidecar.errors import ConfigError
from sidecar.names import Domain


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("s3cr3t\n")
    path.chmod(0o600)
    return path


def _minimal(extra: str = "") -> str:
    return f"""
        {extra}
        [[link]]
        jid = "dialback.capulet.example"
        secret_file = "secret"
        domains = ["capulet.example"]
    """


def _problems(text: str, folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse(text, folder=folder)
    return [str(problem) for problem in error.value.problems]


def test_three_lines_are_a_configuration(secret_file: Path) -> None:
    config = parse(_minimal(), folder=secret_file.parent)
    (link,) = config.link
    assert (link.jid, link.host, link.port) == ("dialback.capulet.example", "127.0.0.1", 5347)
    assert link.secret.reveal() == b"s3cr3t"
    assert config.keyd.socket is None
    assert config.check.timeout_seconds == 12


def test_secret_does_not_show(secret_file: Path) -> None:
    assert "s3cr3t" not in repr(parse(_minimal(), folder=secret_file.parent))


def test_all_problems_come_in_one_message_each_with_its_place(secret_file: Path) -> None:
    text = """
        stat_directory = "/x"
        [check]
        timeout_seconds = "soon"
        nameservers = ["192.0.2.1:99999"]
        [log]
        level = "loud"
        [[link]]
        jid = "dialback.capulet.example"
        secret_file = "nowhere"
        domains = ["exa mple.org", "p@q", "capulet.example"]
        host = "192.0.2.1"
        [[link]]
        jid = "dialback.capulet.example"
        secret_file = 5
        port = 0
        domains = ["montague.example"]
        bogus = 1
    """
    problems = dict(p.split(": ", 1) for p in _problems(text, secret_file.parent))
    assert set(problems) == {
        "stat_directory",
        "check.timeout_seconds",
        "check.nameservers[1]",
        "log.level",
        "link[1].secret_file",
        "link[1].domains",
        "link[1].host",
        "link[2].jid",
        "link[2].secret_file",
        "link[2].port",
        "link[2].bogus",
    }
    assert problems["stat_directory"].startswith("unknown key; known here: link, state_directory")
    assert problems["check.timeout_seconds"] == "expected a number, got text"
    assert problems["log.level"] == "expected one of debug, info, warning, error, got 'loud'"
    assert "No such file" in problems["link[1].secret_file"]
    assert problems["link[1].domains"] == "expected domain names, got 'exa mple.org', 'p@q'"
    assert "tunnel = true" in problems["link[1].host"]
    assert problems["link[2].jid"] == "dialback.capulet.example is already the jid of link[1]"
    assert problems["link[2].port"] == "expected a whole number >= 1"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "link: expected at least one [[link]], or an [authority] that listens"),
        ("link = []", "link: expected at least one [[link]]"),
        ("link = 5", "link: expected an array of tables ([[link]])"),
        ("link = [5]", "link[1]: expected a table, got a number"),
        ("check = 1", "check: expected a table, got a number"),
        ("x =", "file: is not TOML: Invalid value (at end of document)"),
    ],
)
def test_a_file_of_the_wrong_shape_is_told_so(text: str, problem: str, tmp_path: Path) -> None:
    assert problem in _problems(text, tmp_path)


def test_secret_open_to_every_user_is_refused_with_the_command_that_helps(
    secret_file: Path,
) -> None:
    secret_file.chmod(0o644)
    (problem,) = _problems(_minimal(), secret_file.parent)
    assert f"chmod o-rwx {secret_file}" in problem


def test_empty_secret_is_refused(secret_file: Path) -> None:
    secret_file.write_text("\n")
    (problem,) = _problems(_minimal(), secret_file.parent)
    assert problem.endswith("is empty")


@pytest.mark.parametrize(
    ("host", "refused"),
    [
        ("127.0.0.1", False),
        ("127.1.2.3", False),
        ("::1", False),
        ("localhost", False),
        ("10.0.0.1", True),
        ("xmpp.example", True),
    ],
)
def test_remote_link_in_clear_is_refused(host: str, refused: bool, secret_file: Path) -> None:
    text = _minimal() + f'host = "{host}"\n'
    if refused:
        assert "not encrypted" in _problems(text, secret_file.parent)[0]
        parse(text + "tunnel = true\n", folder=secret_file.parent)
    else:
        parse(text, folder=secret_file.parent)


@pytest.mark.parametrize("theirs", ["capulet.example", "CAPULET.example"])
def test_domain_claimed_by_two_links_is_refused(theirs: str, secret_file: Path) -> None:
    text = (
        _minimal()
        + f"""
        [[link]]
        jid = "dialback.montague.example"
        secret_file = "secret"
        domains = ["{theirs}"]
    """
    )
    assert _problems(text, secret_file.parent) == [
        "link[2].domains: capulet.example already belongs to link[1]"
    ]


def test_missing_file_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="file: there is no such file"):
        load(tmp_path / "sidecar.toml")


def test_paths_start_at_the_folder_of_the_file(secret_file: Path) -> None:
    path = secret_file.parent / "sidecar.toml"
    path.write_text(_minimal('state_directory = "state"'))
    assert load(path).state_directory == secret_file.parent / "state"


@pytest.mark.parametrize(
    ("patterns", "domain", "spoken_for", "named"),
    [
        (["capulet.example"], "capulet.example", True, True),
        (["capulet.example"], "chat.capulet.example", False, False),
        (["*.capulet.example"], "chat.capulet.example", True, True),
        (["*.capulet.example"], "a.b.capulet.example", True, True),
        (["*.capulet.example"], "capulet.example", False, False),
        (["*.capulet.example"], "notcapulet.example", False, False),
        (["*"], "anything.example", True, False),
    ],
)
def test_link_domains(
    patterns: list[str], domain: str, spoken_for: bool, named: bool, secret_file: Path
) -> None:
    text = _minimal().replace('["capulet.example"]', str(patterns))
    (link,) = parse(text, folder=secret_file.parent).link
    assert link.domains.speaks_for(Domain.parse(domain)) is spoken_for
    assert link.domains.names(Domain.parse(domain)) is named


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
        ("dns.example", None),
        ("192.0.2.1:0", None),
        ("192.0.2.1:x", None),
        ("192.0.2.1:99999", None),
        ("", None),
    ],
)
def test_address_with_port(text: str, expected: tuple[str, int] | None) -> None:
    assert split_address(text) == expected


def _certificate(key: str) -> str:
    return f"""
        [[certificate]]
        domains = ["capulet.example"]
        certificate = "fullchain.pem"
        key = "{key}"
    """


def test_key_of_a_certificate_may_be_a_credential_of_systemd(
    secret_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "xmpp.key"
    key.touch(mode=0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    text = _minimal() + _certificate("$CREDENTIALS_DIRECTORY/xmpp.key")
    (certificate,) = parse(text, folder=secret_file.parent).certificate
    assert certificate.key == key
    assert certificate.certificate == secret_file.parent / "fullchain.pem"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert _problems(text, secret_file.parent) == [
        "certificate[1].key: systemd has set no CREDENTIALS_DIRECTORY"
    ]


def test_key_of_a_certificate_must_be_there_and_nobody_elses_business(secret_file: Path) -> None:
    key = secret_file.parent / "xmpp.key"
    key.touch(mode=0o644)
    key.chmod(0o644)
    assert _problems(_minimal() + _certificate("xmpp.key"), secret_file.parent) == [
        f"certificate[1].key: {key} is open to every user; type: chmod o-rwx {key}"
    ]
    key.unlink()
    (problem,) = _problems(_minimal() + _certificate("xmpp.key"), secret_file.parent)
    assert problem.startswith(f"certificate[1].key: cannot read {key}")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xb7\x00", "is not text in UTF-8, at byte 1"),
        (b"a=" + b"[" * 100_000, "is nested too deeply"),
        (b"#" * (1 << 20) + b"\n", "is larger than 1048576 bytes"),
        (b"\x00", "is not TOML"),
    ],
)
def test_file_that_is_no_configuration_is_named_in_words(
    content: bytes, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "sidecar.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=problem) as error:
        load(path)
    assert len(error.value.problems) == 1


def test_folder_in_place_of_the_file_is_named_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path)
    assert [str(p) for p in error.value.problems] == ["file: cannot be read: Is a directory"]


def test_secret_file_without_end_is_not_read_to_its_end(secret_file: Path) -> None:
    text = _minimal().replace('"secret"', '"/dev/zero"')
    (problem,) = _problems(text, secret_file.parent)
    assert problem == "link[1].secret_file: /dev/zero is larger than 65536 bytes"


@pytest.mark.parametrize("path", ["", "a\\u0000b"])
def test_path_that_can_be_no_path_is_a_problem_at_its_place(path: str, secret_file: Path) -> None:
    text = _minimal(f'state_directory = "{path}"').replace('"secret"', f'"{path}"')
    found = {problem.split(", got")[0] for problem in _problems(text, secret_file.parent)}
    assert found == {"state_directory: expected a path", "link[1].secret_file: expected a path"}


@pytest.mark.parametrize("host", ["", " ", "a b", "127.0.0.1\\n"])
def test_host_that_is_no_host_is_a_problem(host: str, secret_file: Path) -> None:
    (problem,) = _problems(_minimal() + f'host = "{host}"\ntunnel = true', secret_file.parent)
    assert problem.startswith("link[1].host: expected a host name or an IP, got")


@pytest.mark.parametrize(
    ("place", "extra"),
    [
        ("state_directory", f'state_directory = "/{"a" * 92}"'),
        ("keyd.socket", f'[keyd]\nsocket = "/{"a" * 107}"'),
    ],
)
def test_socket_path_that_the_kernel_refuses_is_a_problem(
    place: str, extra: str, secret_file: Path
) -> None:
    (problem,) = _problems(_minimal(extra), secret_file.parent)
    assert problem.startswith(f"{place}: expected at most 107 bytes for a socket's path: /aaa")
