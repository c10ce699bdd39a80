"""Rules of the configuration that concern more than one value, or the file system."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from sidecar.config.types import Config, Secret
from sidecar.errors import InvalidValue, Problem, shorten

_MAX_PRIVATE_BYTES = 1 << 16
_MAX_SOCKET_PATH_BYTES = 107
_DEEPEST_SOCKET = Path("keyd", "admin.sock")  # of a key service that is the daemon's child
_HOST = re.compile(r"[0-9A-Za-z_.:-]{1,255}(%[0-9A-Za-z_.-]+)?")


def read_secret(path: Path) -> Secret:
    """Return the component secret in the file: its text without white space around it.

    Raises InvalidValue, naming `secret_file`, when it is missing, empty or readable by others.
    """
    value = read_private(path, "secret_file").strip()
    if not value:
        raise InvalidValue("secret_file", f"{path} is empty")
    return Secret(value)


def read_private(path: Path, field: str = "key") -> bytes:
    """Return what is in a file that is nobody else's business.

    Raises InvalidValue, naming `field`, when it is missing, huge or readable by others.
    """
    try:
        mode = path.stat().st_mode
        value = read_at_most(path, _MAX_PRIVATE_BYTES, field)
    except OSError as error:
        raise InvalidValue(field, f"cannot read {path}: {error.strerror or error}") from None
    if mode & stat.S_IRWXO:
        raise InvalidValue(field, f"{path} is open to every user; type: chmod o-rwx {path}")
    return value


def read_at_most(path: Path, limit: int, field: str = "file") -> bytes:
    """Return what is in the file. Raises OSError; InvalidValue when it is over `limit` bytes."""
    with path.open("rb") as file:
        value = file.read(limit + 1)
    if len(value) > limit:
        raise InvalidValue(field, f"{path} is larger than {limit} bytes")
    return value


def socket_problems(config: Config) -> Iterator[Problem]:
    """Unix sockets whose path the kernel would refuse (unix(7))."""
    if config.keyd.socket is None:
        place, path = "state_directory", config.state_directory / _DEEPEST_SOCKET
    else:
        place, path = "keyd.socket", config.keyd.socket
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH_BYTES:
        yield Problem(
            place, f"expected at most {_MAX_SOCKET_PATH_BYTES} bytes for a socket's path: {path}"
        )


def cross_problems(links: Sequence[Mapping[str, Any]], nameservers: Sequence[str]) -> list[Problem]:
    """What is wrong between values; `links` holds a table of single values each, None if wrong."""
    return [*_links(links), *_nameservers(nameservers)]


def _links(links: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    for number, link in enumerate(links, 1):
        place = f"link[{number}]"
        jid, domains, host = link.get("jid"), link.get("domains"), link.get("host")
        if host is not None and not _HOST.fullmatch(host):
            yield Problem(f"{place}.host", f"expected a host name or an IP, got {shorten(host)}")
        elif host and not (is_loopback(host) or link.get("tunnel")):
            yield Problem(
                f"{place}.host",
                f"{host} is not loopback, and component streams are not encrypted: "
                "reach the server through a tunnel, then set tunnel = true",
            )
        if jid and domains and jid in domains.patterns:
            yield Problem(
                f"{place}.domains", f"{jid} is the component itself, not a domain of the server"
            )
        for earlier_number, earlier in enumerate(links[: number - 1], 1):
            if jid and earlier.get("jid") == jid:
                yield Problem(f"{place}.jid", f"{jid} is already the jid of link[{earlier_number}]")
            if domains and (theirs := earlier.get("domains")):
                for name in sorted(domains.overlap(theirs)):
                    yield Problem(
                        f"{place}.domains", f"{name} already belongs to link[{earlier_number}]"
                    )


def _nameservers(nameservers: Sequence[str]) -> Iterator[Problem]:
    for number, server in enumerate(nameservers, 1):
        if split_address(server) is None:
            yield Problem(
                f"check.nameservers[{number}]",
                f"expected IP, IP:port or [IPv6]:port, got {shorten(server)}",
            )


def split_address(text: str, default_port: int = 53) -> tuple[str, int] | None:
    """Split `IP`, `IP:port` or `[IPv6]:port`; None for anything else."""
    host, port = text, str(default_port)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if rest else port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        ip_address(host)
    except ValueError:
        return None
    valid_port = port.isascii() and port.isdigit() and 1 <= int(port) <= 65535
    return (host, int(port)) if valid_port else None


def is_loopback(host: str) -> bool:
    """Whether what goes to `host` stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
