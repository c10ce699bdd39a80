"""`[admin]`: nothing in clear on a public address."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.config import Config, parse
from sidecar.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("secret", "api.pem", "api.key"):
        (tmp_path / name).write_text("s3cr3t")
        (tmp_path / name).chmod(0o600)
    return tmp_path


def _parse(folder: Path, admin: str) -> Config:
    link = '[[link]]\njid = "d.example.org"\nsecret_file = "secret"\ndomains = ["example.org"]\n'
    return parse(f"{link}[admin]\n{admin}\n", folder=folder)


def _problems(folder: Path, admin: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as raised:
        _parse(folder, admin)
    return {problem.place: problem.text for problem in raised.value.problems}


def test_loopback_and_the_socket_alone_are_the_default(folder: Path) -> None:
    admin = _parse(folder, "").admin
    assert (admin.socket, admin.listen) == (None, ("127.0.0.1:5290",))
    assert _parse(folder, "listen = []").admin.listen == ()


@pytest.mark.parametrize("address", ["0.0.0.0:5290", "192.0.2.1:5290", "[::]:5290"])
def test_public_address_in_clear_is_refused(folder: Path, address: str) -> None:
    problems = _problems(folder, f'listen = ["{address}"]')
    assert "would cross the network in clear" in problems["admin.listen[1]"]
    tls = 'certificate = "api.pem"\nkey = "api.key"'
    assert _parse(folder, f'listen = ["{address}"]\n{tls}').admin.listen == (address,)


@pytest.mark.parametrize("address", ["localhost:5290", "127.0.0.1", "127.0.0.1:0", "x"])
def test_address_needs_ip_and_port(folder: Path, address: str) -> None:
    problems = _problems(folder, f'listen = ["{address}"]')
    assert problems["admin.listen[1]"].startswith("expected IP:port")


def test_certificate_and_key_belong_together(folder: Path) -> None:
    assert _problems(folder, 'key = "api.key"') == {
        "admin": "expected both certificate and key, or neither"
    }
    (folder / "api.key").chmod(0o644)
    problems = _problems(folder, 'certificate = "none.pem"\nkey = "api.key"')
    assert problems["admin.certificate"].startswith("there is no file")
    assert "is open to every user" in problems["admin.key"]
