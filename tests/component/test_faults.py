"""Why a link is down: each cause in words of its own."""

from __future__ import annotations

import errno
import socket

import pytest

from sidecar.component.faults import Fault, FaultKind, connect_fault, stream_fault


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            socket.gaierror(socket.EAI_NONAME, "not known"),
            FaultKind.NAME,
            "host 'xmpp.example' does not resolve; correct host in the link's configuration",
        ),
        (
            ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
            FaultKind.REFUSED,
            "nothing listens on xmpp.example port 5347; is the server running,"
            " and does it listen for components there?",
        ),
        (
            TimeoutError(),
            FaultKind.TIMEOUT,
            "no answer from xmpp.example port 5347 in time; is the address right,"
            " and does a packet filter drop the connection?",
        ),
        (
            OSError(errno.EHOSTUNREACH, "No route to host"),
            FaultKind.NETWORK,
            "connection to xmpp.example port 5347 failed: No route to host; is the address right?",
        ),
        (
            OSError(errno.EMFILE, "Too many open files"),
            FaultKind.NETWORK,
            "connection to xmpp.example port 5347 failed: Too many open files",
        ),
        (
            OSError("no number"),
            FaultKind.NETWORK,
            "connection to xmpp.example port 5347 failed: no number",
        ),
    ],
)
def test_failed_connection_is_told_with_what_to_do(
    error: OSError, kind: FaultKind, words: str
) -> None:
    fault = connect_fault(error, "xmpp.example", 5347)
    assert (fault.kind, str(fault)) == (kind, words)


def test_text_of_an_unexpected_stream_error_is_quoted_and_short() -> None:
    fault = stream_fault("policy-violation", "line\nbreak" + "x" * 1000, "dialback.example.org")
    assert fault.kind is FaultKind.STREAM_ERROR
    assert "\n" not in str(fault)
    assert len(str(fault)) < 150


def test_fault_without_a_hint_is_its_text() -> None:
    assert str(Fault(FaultKind.CLOSED, "the server closed the stream")) == (
        "the server closed the stream"
    )
