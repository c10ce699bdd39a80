"""Where the API listens: a Unix socket of mode 0600, and TCP addresses.

An address that cannot be taken costs an error in the log and nothing else: federation does not
depend on the API.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
from pathlib import Path

from aiohttp import web

from sidecar.config import AdminConfig
from sidecar.config.rules import split_address

log = logging.getLogger(__name__)

_BACKLOG = 64


async def listen(runner: web.AppRunner, config: AdminConfig, unix_path: Path) -> list[str]:
    """Listen wherever it is possible; return the places where it was not."""
    failed = []
    try:
        await _listen_unix(runner, unix_path)
    except OSError as error:
        log.error("no admin API at %s: %s", unix_path, error.strerror or error)
        failed.append(str(unix_path))
    for address in config.listen:
        split = split_address(address)
        assert split is not None  # the configuration was checked
        try:
            site = web.TCPSite(
                runner, *split, ssl_context=_tls(config), backlog=_BACKLOG, reuse_address=True
            )
            await site.start()
        except (OSError, ssl.SSLError) as error:
            log.error("no admin API at %s: %s", address, error.strerror or error)
            failed.append(address)
    return failed


async def _listen_unix(runner: web.AppRunner, path: Path) -> None:
    """Raises OSError. The socket of a daemon that is gone is replaced, one that lives is not."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and not (path.is_socket() and not _is_answered(path)):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        fresh = path.with_name(path.name + "~")  # whoever sees `path` finds somebody listening
        fresh.unlink(missing_ok=True)
        previous = os.umask(0o177)
        try:
            listener.bind(os.fspath(fresh))
        finally:
            os.umask(previous)
        listener.listen(_BACKLOG)
        fresh.rename(path)
        await web.SockSite(runner, listener, backlog=_BACKLOG).start()
    except BaseException:
        listener.close()
        raise


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
        return True


def _tls(config: AdminConfig) -> ssl.SSLContext | None:
    if config.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.certificate, config.key)
    return context
