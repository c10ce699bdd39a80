"""`--admin-socket PATH` or `--config FILE`, and asking the key service, the same for every command
that does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from click.core import ParameterSource

from sidecar.admin_client import ask
from sidecar.cli.config_option import CONFIG_VARIABLE, DEFAULT_PATH, places_or_exit
from sidecar.cli.progress import patience
from sidecar.config import places
from sidecar.errors import ConfigError, KeyServiceUnavailable
from sidecar.keys.messages import AdminRequest, DryRun, Refused, Reply

SEPARATE = Path("/var/lib/dialback-keyd/admin.sock")
EMBEDDED = Path("/var/lib/dialback-sidecar/keyd/admin.sock")
EXIT_UNAVAILABLE = 1

_NAMED_CONFIG = "sidecar.cli.keyd_option.config"

_Command = Callable[..., Any]
_Wanted = TypeVar("_Wanted", bound=Reply)

_REASONS = {
    "no-such-domain": "that domain has no secret; see `secret list`",
    "no-such-version": "there is no such version, or its secret is gone already; see `secret list`",
    "too-many-retired": "16 versions are waiting for their last key to expire; wait, or revoke",
    "end-too-far": "an imported secret may be trusted for at most 30 days",
    "kek-rotation-under-way": "the key-encryption key is being rotated; see `status`",
    "kek-file-not-ours": "the key service cannot write to the file of the key-encryption key:"
    " put a new key before the old one there, restart it, and remove the old one",
    "file-exists": "that file exists",
    "no-such-directory": "the key service finds no such directory",
    "path-not-writable": "the key service's user cannot write there",
    "no-room-there": "there is no room on that disk",
}


def _default() -> Path:
    """Where the configuration leads: to the daemon's child, or to a key service by itself.

    Secrets can be seen to while the configuration is broken: then what is there decides.
    """
    named = click.get_current_context().meta.get(_NAMED_CONFIG)
    try:
        daemon = places(named or DEFAULT_PATH)
    except ConfigError:
        return EMBEDDED if _is_there(EMBEDDED) and not _is_there(SEPARATE) else SEPARATE
    if not daemon.key_service_is_child:
        return SEPARATE
    return daemon.state_directory / "keyd" / "admin.sock"


def _is_there(path: Path) -> bool:
    return os.access(path, os.F_OK)


def _remember_config(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    """What was typed has to be there; of what the environment says the best is made."""
    if context.get_parameter_source("config_path") is ParameterSource.COMMANDLINE:
        assert path is not None
        places_or_exit(path)
    context.meta[_NAMED_CONFIG] = path


def admin_socket_option(command: _Command) -> _Command:
    """`--admin-socket`, and `--config`, which leads there too."""
    with_socket = click.option(
        "--admin-socket",
        type=click.Path(path_type=Path),
        default=_default,
        envvar="DIALBACK_KEYD_ADMIN_SOCKET",
        show_default=f"{SEPARATE}, or of the daemon's child",
        help="The admin socket of dialback-keyd.",
    )(command)
    return click.option(
        "-c",
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        envvar=CONFIG_VARIABLE,
        is_eager=True,
        expose_value=False,
        callback=_remember_config,
        help="The configuration file, which tells where that is.",
    )(with_socket)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def ask_or_exit(
    path: Path, request: AdminRequest | DryRun, wanted: type[_Wanted], *, about: object = None
) -> _Wanted:
    """Return the reply; say in words why there is none and exit with status 1 otherwise.

    What the request was `about` is named after the words.
    """
    try:
        with patience("asking the key service ..."):
            reply: Reply = ask(path, request)
    except KeyServiceUnavailable as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_UNAVAILABLE)
    if isinstance(reply, wanted):
        return reply
    reason = reply.reason if isinstance(reply, Refused) else type(reply).__name__
    refuse(reason, about=about)


def refuse(reason: str, *, about: object = None) -> NoReturn:
    """Say in words why not, and exit with status 1."""
    named = "" if about is None else f": {about}"
    click.echo(f"error: {_REASONS.get(reason, reason)}{named}", err=True)
    sys.exit(EXIT_UNAVAILABLE)
