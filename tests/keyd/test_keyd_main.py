"""The command line of dialback-keyd, and what its process loads."""

import subprocess
import sys

import pytest

from sidecar.keyd.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: --state-directory"),
        (["--state-directory", "x"], "required: --socket"),
        (["--state-directory", "x", "--socket", "y", "--frobnicate"], "--frobnicate"),
        (
            ["--state-directory", "x", "--socket", "y", "--max-entries", "0"],
            "expected a positive number, got '0'",
        ),
        (
            ["--state-directory", "x", "--socket", "y", "--rotate-every", "soon"],
            "expected a time such as 30m or 24h, got 'soon'",
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


def run(state, socket):
    """Run keyd as a process of its own, for it changes the one it runs in."""
    command = [sys.executable, "-m", "sidecar.keyd", "--allow-root"]
    command += ["--state-directory", str(state), "--socket", str(socket)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return ran.returncode, ran.stderr


def test_socket_path_that_is_too_long_ends_with_status_1_and_words(tmp_path):
    status, words = run(tmp_path / "state", tmp_path / ("x" * 120))
    assert status == 1
    assert "expected at most 107 bytes for a socket's path" in words


def test_file_in_place_of_the_socket_is_left_alone(tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    status, words = run(tmp_path / "state", path)
    assert status == 1
    assert "exists and is no socket" in words
    assert path.read_text() == "data"


def test_state_directory_that_others_can_write_to_is_refused(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o777)
    status, words = run(state, tmp_path / "socket")
    assert status == 1
    assert "others can write to it; expected mode 0700, got 0777" in words


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
    leaves = {f"sidecar.{name}" for name in ("durations", "errors", "logs", "names")}
    leaves.add("sidecar.preconditions")
    layers = ("sidecar.keys", "sidecar.keyd")
    assert {name for name in inside if not name.startswith(layers)} == leaves
