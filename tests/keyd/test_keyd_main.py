"""The command line of dialback-keyd, and what its process loads."""

import subprocess
import sys

import pytest

from sidecar.keyd.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: --state-directory, --socket"),
        (["--state-directory", "x"], "required: --socket"),
        (["--state-directory", "x", "--socket", "y", "--frobnicate"], "--frobnicate"),
        (
            ["--state-directory", "x", "--socket", "y", "--max-entries", "0"],
            "expected a positive number, got '0'",
        ),
        (
            ["--state-directory", "x", "--socket", "y", "--client-user", "no such user"],
            "expected a user, got 'no such user'",
        ),
    ],
)
def test_bad_argument_ends_with_status_2_and_words(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_socket_path_that_is_too_long_ends_with_status_1_and_words(tmp_path, capsys):
    path = tmp_path / ("x" * 120)
    assert main(["--state-directory", str(tmp_path / "state"), "--socket", str(path)]) == 1
    assert "expected at most 107 bytes for a socket's path" in capsys.readouterr().err


def test_file_in_place_of_the_socket_is_left_alone(tmp_path, capsys):
    path = tmp_path / "precious"
    path.write_text("data")
    assert main(["--state-directory", str(tmp_path / "state"), "--socket", str(path)]) == 1
    assert "exists and is no socket" in capsys.readouterr().err
    assert path.read_text() == "data"


def test_state_directory_that_others_can_write_to_is_refused(tmp_path, capsys):
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o777)
    assert main(["--state-directory", str(state), "--socket", str(tmp_path / "s")]) == 1
    assert "others can write to it; expected mode 0700, got 0777" in capsys.readouterr().err


def test_keyd_loads_no_xml_no_http_no_component_and_no_network_client(tmp_path):
    script = "import sys\nimport sidecar.keyd.__main__\nprint('\\n'.join(sys.modules))\n"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "msgspec" in loaded
    assert not loaded & {
        *("aiohttp", "slixmpp", "aiodns", "pycares", "xml", "pyexpat", "lxml", "http"),
        *("asyncio", "ssl", "_ssl", "urllib.request", "email", "click", "uvloop"),
    }
    inside = {name for name in loaded if name.startswith("sidecar.")}
    layers = ("sidecar.keys", "sidecar.keyd", "sidecar.errors", "sidecar.logs", "sidecar.names")
    assert {name for name in inside if not name.startswith(layers)} == set()
