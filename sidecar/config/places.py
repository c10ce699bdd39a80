"""Where a daemon that runs is asked, read from a file that may have problems elsewhere."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

from sidecar.config.load import load
from sidecar.config.types import Config


class Places(NamedTuple):
    """The admin API's socket; the state directory; whether the key service is the daemon's child,
    and so has its own directory in there."""

    api_socket: Path
    state_directory: Path
    key_service_is_child: bool


def places(path: Path) -> Places:
    """Return the places that the file at `path` names, whatever else in it is wrong: a daemon is
    asked while its file is being mended, and by who may not read the secrets that it names.

    Raises ConfigError, as `load`, when not even they can be read.
    """
    try:
        data = tomllib.loads(path.read_text())
        state = Path(data.get("state_directory", Config().state_directory))
        socket = Path(data.get("admin", {}).get("socket", state / "api.sock"))
        child = "socket" not in data.get("keyd", {})
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        config = load(path)
        state = config.state_directory
        return Places(config.admin.socket or state / "api.sock", state, config.keyd.socket is None)
    folder = path.parent.absolute()
    return Places(folder / socket, folder / state, child)
