"""A daemon that takes connections and is silent: whoever asks it is told so after a while."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from sidecar.cli import main


@pytest.mark.parametrize("words", [["status"], ["watch"], ["reload"]], ids=" ".join)
def test_silence_is_told_with_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr("sidecar.cli.api_client._TIMEOUT_SECONDS", 0.3)
    (tmp_path / "sidecar.toml").write_text('state_directory = "."')
    (tmp_path / "token").write_text("dbs_x")
    where = ["--config", str(tmp_path / "sidecar.toml"), "--token-file", str(tmp_path / "token")]
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(tmp_path / "api.sock"))
        daemon.listen()
        result = CliRunner().invoke(main, [*words, *where])
    assert result.exit_code == 1
    assert "api.sock: no answer within 0 s\nhint: is the daemon running?" in result.output
