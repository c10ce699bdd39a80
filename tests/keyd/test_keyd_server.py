"""A running dialback-keyd, seen through its socket."""

import os
import socket
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from keyd_process import KeydProcess

from sidecar.keyd.server import MAX_CONNECTIONS
from sidecar.keys.framing import encode_frame
from sidecar.keys.ledger import VALID, WRONG
from sidecar.keys.messages import (
    Done,
    EndKey,
    IssueKey,
    Judged,
    KeyIssued,
    ListVersions,
    RevokeSecret,
    VerifyKey,
)

TRIPLE = ("capulet.example", "montague.example", "S1")


def test_key_issued_on_one_connection_is_valid_on_another(running_keyd):
    issued = running_keyd.ask(IssueKey(*TRIPLE))
    assert isinstance(issued, KeyIssued)
    assert running_keyd.ask(VerifyKey(*TRIPLE, issued.key)) == VALID


def test_each_request_of_a_batch_gets_its_reply_in_order(running_keyd):
    with running_keyd.connection() as wire:
        batch = [(n, IssueKey("capulet.example", "montague.example", f"S{n}")) for n in range(100)]
        replies = wire.ask(batch)
        assert [message_id for message_id, _ in replies] == list(range(100))
        keys = [reply.key for _, reply in replies]
        assert len(set(keys)) == 100
        verifies = [
            (n, VerifyKey("capulet.example", "montague.example", f"S{n}", key))
            for n, key in enumerate(keys)
        ]
        assert wire.ask(verifies) == [(n, VALID) for n in range(100)]


def test_ended_key_is_invalid(running_keyd):
    key = running_keyd.ask(IssueKey(*TRIPLE)).key
    assert running_keyd.ask(EndKey(*TRIPLE)) == Done()
    assert running_keyd.ask(VerifyKey(*TRIPLE, key)) == Judged("invalid", "key-ended")


def test_domains_have_secrets_of_their_own(running_keyd):
    first = running_keyd.ask(IssueKey("a.example", "c.example", "S1")).key
    running_keyd.ask(IssueKey("b.example", "c.example", "S1"))
    assert running_keyd.ask(VerifyKey("b.example", "c.example", "S1", first)) == WRONG


@pytest.mark.parametrize(
    "request_",
    [
        IssueKey("Capulet.example", "montague.example", "S1"),
        IssueKey("capulet.example", "xn--mnchen-3ya.example", "S1"),
        IssueKey("", "montague.example", "S1"),
        IssueKey("capulet.example", "montague.example:5269", "S1"),
        IssueKey("capulet.example", "montague.example", "S 1"),
        IssueKey("capulet.example", "montague.example", ""),
        EndKey("capulet.example", "montague.example", "S" * 257),
        VerifyKey(*TRIPLE, "k" * 257),
        VerifyKey(*TRIPLE, "schlüssel"),
    ],
)
def test_field_that_is_none_costs_the_connection_and_nobody_else_anything(running_keyd, request_):
    with running_keyd.connection() as bystander, running_keyd.connection() as wire:
        wire.send([(1, request_)])
        assert wire.is_closed_by_peer()
        assert isinstance(bystander.ask([(1, IssueKey(*TRIPLE))])[0][1], KeyIssued)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x01\xc1",
        b"GET / HTTP/1.1\r\n\r\n",
        encode_frame([(1, Done())]),
        encode_frame([(n, EndKey(*TRIPLE)) for n in range(129)]),
    ],
)
def test_malformed_message_costs_the_connection_and_nobody_else_anything(running_keyd, data):
    with running_keyd.connection() as bystander, running_keyd.connection() as wire:
        wire.socket.sendall(data)
        assert wire.is_closed_by_peer()
        assert isinstance(bystander.ask([(1, IssueKey(*TRIPLE))])[0][1], KeyIssued)


def test_truncated_frame_holds_up_nobody(running_keyd):
    with running_keyd.connection() as wire:
        wire.socket.sendall(encode_frame([(1, IssueKey(*TRIPLE))])[:-1])
        assert isinstance(running_keyd.ask(IssueKey(*TRIPLE)), KeyIssued)


def test_client_that_reads_nothing_holds_up_nobody(running_keyd):
    frame = encode_frame([(n, IssueKey("a.example", "b.example", f"S{n}")) for n in range(128)])
    with running_keyd.connection() as mute:
        mute.socket.settimeout(1)
        with pytest.raises(TimeoutError):
            while True:
                mute.socket.sendall(frame)
        assert isinstance(running_keyd.ask(IssueKey(*TRIPLE)), KeyIssued)


def test_clients_that_take_every_place_keep_no_operator_out(running_keyd):
    with ExitStack() as stack:
        crowd = [stack.enter_context(running_keyd.connection()) for _ in range(MAX_CONNECTIONS)]
        for wire in crowd:
            assert isinstance(wire.ask([(1, IssueKey(*TRIPLE))])[0][1], KeyIssued)
        with running_keyd.connection() as one_more:
            assert one_more.is_closed_by_peer()
        assert running_keyd.ask_admin(RevokeSecret("capulet.example")).successor == 2
        crowd.pop().socket.close()
        running_keyd.wait_until_serving()


def test_questions_whose_answers_nobody_reads_take_no_memory(running_keyd):
    """Thousands of them fit into one read, and each answer can be a thousand times longer."""
    with running_keyd.connection() as wire, running_keyd.connection() as mute:
        for first in range(0, 1_000, 100):
            wire.ask([(n, IssueKey(f"d{first + n}.example", "b.example", "S")) for n in range(100)])
        before = resident_mib(running_keyd)
        mute.socket.sendall(encode_frame([(n, ListVersions()) for n in range(128)]) * 30)
        for _ in range(200):
            wire.ask([(1, IssueKey(*TRIPLE))])
        assert resident_mib(running_keyd) < before + 8


def resident_mib(keyd):
    status = Path(f"/proc/{keyd.process.pid}/status").read_text().split()
    return int(status[status.index("VmRSS:") + 1]) / 1024


def test_socket_and_every_file_are_for_their_owner_only(running_keyd):
    running_keyd.ask(IssueKey(*TRIPLE))
    assert stat.S_IMODE(running_keyd.socket.stat().st_mode) == 0o600
    files = [path for path in running_keyd.state.rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(running_keyd.state.stat().st_mode) == 0o700
    assert stat.S_IMODE((running_keyd.state / "ledger").stat().st_mode) == 0o700


STRANGER = (
    "import os, socket, sys\n"
    "s = socket.socket(socket.AF_UNIX)\n"
    "os.chdir(sys.argv[1])\n"
    "os.setgroups([])\n"
    "os.setgid(int(sys.argv[3]))\n"
    "os.setuid(65534)\n"
    "s.connect('keyd.sock')\n"
    "s.settimeout(20)\n"
    "try:\n"
    "    s.sendall(bytes.fromhex(sys.argv[2]))\n"
    "    sys.exit(2 if s.recv(1) else 0)\n"
    "except ConnectionError:\n"
    "    sys.exit(0)\n"
)


def ask_as_stranger(keyd, gid):
    """Exit status 0: keyd ended the connection; 2: it answered; 1: no connection at all."""
    keyd.directory.chmod(0o755)
    frame = encode_frame([(1, IssueKey(*TRIPLE))]).hex()
    command = [sys.executable, "-c", STRANGER, str(keyd.directory), frame, str(gid)]
    return subprocess.run(command, check=False, capture_output=True).returncode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_uid_gets_nothing_though_it_reaches_the_socket(running_keyd):
    assert ask_as_stranger(running_keyd, 65534) == 1
    running_keyd.socket.chmod(0o666)
    assert ask_as_stranger(running_keyd, 65534) == 0
    assert "uid 65534 may not use this socket" in running_keyd.log.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_user_that_was_named_is_answered_through_its_group_and_no_other_group_is(keyd):
    keyd.start("--client-user", "65534", "--socket-group", "12345")
    assert stat.S_IMODE(keyd.socket.stat().st_mode) == 0o660
    assert ask_as_stranger(keyd, 12345) == 2
    assert ask_as_stranger(keyd, 65534) == 1


def test_clean_stop_removes_the_socket_and_keeps_every_key(running_keyd):
    key = running_keyd.ask(IssueKey(*TRIPLE)).key
    assert running_keyd.stop() == 0
    assert not running_keyd.socket.exists()
    running_keyd.start()
    assert running_keyd.ask(VerifyKey(*TRIPLE, key)) == VALID
    assert "not stopped cleanly" not in running_keyd.log.read_text()


def test_second_keyd_on_a_state_directory_is_refused(running_keyd, tmp_path):
    second = KeydProcess(tmp_path)
    second.socket = tmp_path / "second.sock"
    second.log = tmp_path / "second.log"
    second.start(wait=False)
    assert second.process.wait(30) == 1
    assert "another dialback-keyd is using it" in second.log.read_text()
    assert isinstance(running_keyd.ask(IssueKey(*TRIPLE)), KeyIssued)


def test_log_at_debug_holds_no_key_and_no_secret(keyd):
    keyd.start("--log-level", "debug")
    key = keyd.ask(IssueKey(*TRIPLE)).key
    keyd.ask(VerifyKey(*TRIPLE, key))
    keyd.ask(VerifyKey(*TRIPLE, key[::-1]))
    with keyd.connection() as wire:
        wire.send([(1, VerifyKey(*TRIPLE, key + " ü"))])
        assert wire.is_closed_by_peer()
    keyd.stop()
    log = keyd.log.read_text()
    assert "lost its connection" in log
    assert key not in log
    assert key[::-1] not in log


def test_socket_that_systemd_passes_on_is_served(keyd, tmp_path):
    passed = tmp_path / "passed.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(passed))
        listener.listen()
        script = 'export LISTEN_PID=$$ LISTEN_FDS=1; exec 3<&"$0"; exec "$@"'
        command = ["bash", "-c", script, str(listener.fileno()), sys.executable, "-m"]
        command += ["sidecar.keyd", "--allow-root", "--state-directory", str(keyd.state)]
        command += ["--socket", str(keyd.socket)]
        with keyd.log.open("ab") as log:
            keyd.process = subprocess.Popen(command, pass_fds=[listener.fileno()], stderr=log)
    keyd.socket = passed
    assert isinstance(keyd.ask(IssueKey(*TRIPLE)), KeyIssued)
    assert keyd.stop() == 0
    assert passed.exists()
