"""`dialback-keyd`: the command line, the log and the end of the key service."""

from __future__ import annotations

import argparse
import logging
import os
import pwd
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sidecar import logs
from sidecar.errors import SidecarError
from sidecar.keyd.durable_ledger import DurableLedger
from sidecar.keyd.journal import Journal
from sidecar.keyd.listener import listen
from sidecar.keyd.secret_store import SecretStore
from sidecar.keyd.server import Server
from sidecar.keyd.state_directory import StateDirectory
from sidecar.keys.limits import Limits

log = logging.getLogger("sidecar.keyd")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run keyd; exit status 0 after a clean stop, 1 when it cannot serve, 2 for bad arguments."""
    options = _parser().parse_args(arguments)
    logs.configure(options.log_level, "dialback-keyd")
    try:
        _serve(options)
    except (SidecarError, sqlite3.Error, OSError) as error:
        print(f"dialback-keyd: {error}", file=sys.stderr)
        return 1
    return 0


def _serve(options: argparse.Namespace) -> None:
    os.umask(0o077)
    limits = Limits(entries=options.max_entries)
    directory = StateDirectory(options.state_directory)
    ledger = DurableLedger(
        SecretStore(directory.secrets), Journal(directory.ledger), limits, now_ms=_clock_ms()
    )
    try:
        with listen(options.socket) as listener, _signal_pipe() as signals:
            stop_when_readable = [signals.fileno()]
            if options.until_stdin_ends:
                stop_when_readable.append(sys.stdin.fileno())
            server = Server(
                ledger,
                listener,
                client_uids=frozenset({os.geteuid(), *options.client_user}),
                clock_ms=_clock_ms,
                stop_when_readable=stop_when_readable,
            )
            log.info("serving on %s", options.socket)
            server.run()
            options.socket.unlink(missing_ok=True)
    finally:
        ledger.close()
        directory.close()
    log.info("stopped")


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


def _signal_pipe() -> socket.socket:
    """Return a socket that becomes readable with SIGTERM or SIGINT."""
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    signal.set_wakeup_fd(writing.detach())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return reading


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dialback-keyd",
        description="The key service of dialback-sidecar: owns the dialback secrets and the"
        " ledger of issued keys, and answers one Unix socket.",
    )
    parser.add_argument(
        "--state-directory", type=Path, required=True, help="secrets and ledger; created, mode 0700"
    )
    parser.add_argument("--socket", type=Path, required=True, help="where to listen; mode 0600")
    parser.add_argument(
        "--client-user",
        type=_uid,
        action="append",
        default=[],
        metavar="USER",
        help="another user (name or uid) that may use the socket; can be repeated",
    )
    parser.add_argument(
        "--max-entries",
        type=_positive,
        default=Limits().entries,
        metavar="N",
        help="live keys in the ledger, over which no more are issued (%(default)s)",
    )
    parser.add_argument(
        "--until-stdin-ends",
        action="store_true",
        help="stop when standard input is closed: the parent that holds it has ended",
    )
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info"
    )
    return parser


def _uid(text: str) -> int:
    try:
        return int(text) if text.isdecimal() else pwd.getpwnam(text).pw_uid
    except KeyError:
        raise argparse.ArgumentTypeError(f"expected a user, got {text!r}") from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
