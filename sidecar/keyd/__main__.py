"""`dialback-keyd`: puts the key service together, runs it and stops it."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from sidecar import logs
from sidecar.errors import SidecarError
from sidecar.keyd import kek_file
from sidecar.keyd.ballast import Ballast
from sidecar.keyd.clock import ClockSource
from sidecar.keyd.hardening import harden, refuse_root
from sidecar.keyd.journal import Journal
from sidecar.keyd.kek_rotation import KekRotation
from sidecar.keyd.key_service import KeyService
from sidecar.keyd.listener import inherited_listener, listen
from sidecar.keyd.options import parse
from sidecar.keyd.request_table import Capability
from sidecar.keyd.restore import restore
from sidecar.keyd.secret_store import SecretStore
from sidecar.keyd.server import Entrance, Server
from sidecar.keyd.state_directory import StateDirectory
from sidecar.keys.limits import Limits

log = logging.getLogger("sidecar.keyd")

FIRST_TOKEN_FILE = "admin-token"  # noqa: S105 # a file name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run keyd; exit status 0 after a clean stop, 1 when it cannot serve, 2 for bad arguments."""
    options = parse(arguments)
    logs.configure(options.log_level, "dialback-keyd", options.log_format)
    try:
        _run(options)
    except (SidecarError, sqlite3.Error, OSError) as error:
        print(f"dialback-keyd: {error}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    refuse_root(allowed=options.allow_root)
    memory_locked = harden()
    with ExitStack() as stack:
        directory = StateDirectory(options.state_directory)
        stack.callback(directory.close)
        if options.restore is not None:
            _restore(options, directory)
            return
        service = _open(options, directory, memory_locked)
        stack.callback(service.close)
        own = frozenset({os.geteuid()})
        admin_socket = options.admin_socket or directory.path / "admin.sock"
        server = Server(
            service,
            [
                Entrance(
                    inherited_listener() or _listen(stack, options.socket, options.socket_group),
                    own | set(options.client_user),
                    frozenset({Capability.LEDGER, Capability.BEARER, Capability.FACTS}),
                ),
                Entrance(
                    _listen(stack, admin_socket),
                    own | {0},
                    frozenset({Capability.ADMIN, Capability.FACTS}),
                ),
            ],
            stop_when_readable=[
                stack.enter_context(_signal_pipe()).fileno(),
                *([sys.stdin.fileno()] if options.until_stdin_ends else []),
            ],
        )
        log.info("serving on %s", options.socket)
        server.run()
    log.info("stopped")


def _open(
    options: argparse.Namespace, directory: StateDirectory, memory_locked: bool
) -> KeyService:
    store = SecretStore(directory.secrets)
    path, writable = kek_file.find(options.kek_file, directory.path)
    return KeyService(
        store,
        Journal(directory.ledger),
        Ballast(directory.ballast),
        KekRotation.open(path, writable, holds_sealed=store.holds_sealed),
        ClockSource.of_this_machine(),
        limits=Limits(
            lifetime_ms=options.key_lifetime,
            entries=options.max_entries,
            entries_per_sender=options.max_entries_per_domain,
            entries_per_zone=options.max_entries_per_zone,
            domains=options.max_domains,
        ),
        rotation_ms=options.rotate_every,
        memory_locked=memory_locked,
        first_token_file=directory.path / FIRST_TOKEN_FILE,
    )


def _restore(options: argparse.Namespace, directory: StateDirectory) -> None:
    path, writable = kek_file.find(options.kek_file, directory.path)
    source = ClockSource.of_this_machine()
    count, imported = restore(options.restore, directory, path, writable, source)
    print(f"restored {count} sender domains, each with a new secret, and no API token")
    for domain in imported:
        print(f"{domain}: the secret that was imported is not trusted; import it again if need be")


def _listen(stack: ExitStack, path: Path, group: int | None = None) -> socket.socket:
    listener = stack.enter_context(listen(path, group))
    stack.callback(path.unlink, missing_ok=True)
    return listener


def _signal_pipe() -> socket.socket:
    """Return a socket that becomes readable with SIGTERM or SIGINT."""
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    signal.set_wakeup_fd(writing.detach())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return reading


if __name__ == "__main__":
    sys.exit(main())
