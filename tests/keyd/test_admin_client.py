"""What an operator reads when the admin socket of dialback-keyd gives no answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.admin_client import ask
from sidecar.errors import KeyServiceUnavailable
from sidecar.keys.framing import encode_frame
from sidecar.keys.messages import Failed, GetStatus


@contextmanager
def _answering(path: Path, answer: bytes) -> Iterator[None]:
    """Reads one request, gives `answer` and hangs up."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        serving = threading.Thread(target=serve)
        serving.start()
        yield
        serving.join(30)


def test_socket_that_is_not_there_or_not_served_is_told_with_what_to_look_at(
    tmp_path: Path,
) -> None:
    with pytest.raises(KeyServiceUnavailable, match=r"nowhere: .*is dialback-keyd running"):
        ask(tmp_path / "nowhere", GetStatus())
    (tmp_path / "file").touch()
    with pytest.raises(KeyServiceUnavailable, match=r"file: nobody listens there"):
        ask(tmp_path / "file", GetStatus())
    with pytest.raises(KeyServiceUnavailable, match=r"a: AF_UNIX path too long"):
        ask(tmp_path / ("a" * 120), GetStatus())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "ended the connection; see its log"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "what answers is no key service"),
    ],
)
def test_answer_of_something_else_is_told(answer: bytes, words: str, tmp_path: Path) -> None:
    with (
        _answering(tmp_path / "s", answer),
        pytest.raises(KeyServiceUnavailable, match=words) as error,
    ):
        ask(tmp_path / "s", GetStatus())
    assert "Errno" not in str(error.value)


def test_disk_that_fails_is_told_with_what_to_do(tmp_path: Path) -> None:
    answer = encode_frame([(0, Failed("store-failed"))])
    with (
        _answering(tmp_path / "s", answer),
        pytest.raises(
            KeyServiceUnavailable, match=r"cannot write to its disk.*: make room"
        ) as error,
    ):
        ask(tmp_path / "s", GetStatus())
    assert "Failed" not in str(error.value)
