"""The command line of dialback-keyd."""

from __future__ import annotations

import argparse
import grp
import pwd
from collections.abc import Sequence
from pathlib import Path

from sidecar.durations import Duration
from sidecar.errors import InvalidValue
from sidecar.keys.limits import MAX_LIFETIME_MS, Limits


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="dialback-keyd",
        description="The key service of dialback-sidecar: owns the dialback secrets and the"
        " ledger of issued keys, and answers Unix sockets only.",
    )
    add = parser.add_argument
    add("--state-directory", type=Path, required=True, help="secrets and ledger; mode 0700")
    add(
        "--socket",
        type=Path,
        help="where dialback-sidecar asks; mode 0600 (one that systemd passes on goes before)",
    )
    add(
        "--admin-socket",
        type=Path,
        help="where operators ask; mode 0600 (default: admin.sock in the state directory)",
    )
    add(
        "--client-user",
        type=_uid,
        action="append",
        default=[],
        metavar="USER",
        help="another user (name or uid) that may use the socket; can be repeated",
    )
    add(
        "--socket-group",
        type=_gid,
        metavar="GROUP",
        help="group that can reach the socket, one of ours (mode 0660), where systemd does not"
        " make the socket; only --client-user may use it",
    )
    add(
        "--kek-file",
        type=Path,
        help="the key-encryption key (default: the systemd credential dialback-kek, else kek in"
        " the state directory)",
    )
    add(
        "--rotate-every",
        type=_duration_ms,
        default="24h",
        metavar="TIME",
        help="age at which a secret is replaced, 10 %% more or less: 30m, 24h, 7d (%(default)s)",
    )
    add(
        "--key-lifetime",
        type=_lifetime_ms,
        default="120s",
        metavar="TIME",
        help="how long an issued key can be verified (%(default)s)",
    )
    add(
        "--max-entries",
        type=_positive,
        default=Limits().entries,
        metavar="N",
        help="live keys in the ledger, over which no more are issued (%(default)s)",
    )
    add(
        "--max-entries-per-domain",
        type=_positive,
        default=Limits().entries_per_sender,
        metavar="N",
        help="of them, for one sender domain (%(default)s)",
    )
    add(
        "--max-entries-per-zone",
        type=_positive,
        default=Limits().entries_per_zone,
        metavar="N",
        help="of them, for target domains with the same last two labels (%(default)s)",
    )
    add(
        "--max-domains",
        type=_positive,
        default=Limits().domains,
        metavar="N",
        help="sender domains that may have a secret (%(default)s)",
    )
    add(
        "--until-stdin-ends",
        action="store_true",
        help="stop when standard input is closed: the parent that holds it has ended",
    )
    add(
        "--restore",
        type=Path,
        metavar="FILE",
        help="put a backup in place of a lost store, with a new secret for each domain, and end",
    )
    add("--allow-root", action="store_true", help="run although this is root")
    add("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    add("--log-format", choices=("human", "json"), default="human")
    return parser


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; bad arguments end with status 2 and words."""
    known = parser()
    options = known.parse_args(arguments)
    if options.socket is None and options.restore is None:
        known.error("the following arguments are required: --socket")
    return options


def _uid(text: str) -> int:
    try:
        return int(text) if text.isdecimal() else pwd.getpwnam(text).pw_uid
    except KeyError:
        raise argparse.ArgumentTypeError(f"expected a user, got {text!r}") from None


def _gid(text: str) -> int:
    try:
        return int(text) if text.isdecimal() else grp.getgrnam(text).gr_gid
    except KeyError:
        raise argparse.ArgumentTypeError(f"expected a group, got {text!r}") from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return int(text)


def _duration_ms(text: str) -> int:
    try:
        return Duration.parse(text).ms
    except InvalidValue as error:
        raise argparse.ArgumentTypeError(error.problem) from None


def _lifetime_ms(text: str) -> int:
    lifetime_ms = _duration_ms(text)
    if lifetime_ms > MAX_LIFETIME_MS:
        raise argparse.ArgumentTypeError(f"expected at most {Duration(MAX_LIFETIME_MS)}")
    return lifetime_ms
