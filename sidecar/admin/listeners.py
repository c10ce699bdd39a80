"""Where the API listens: a Unix socket of mode 0600, and TCP addresses.

An address that cannot be taken costs an error in the log and nothing else: federation does not
depend on the API.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from sidecar.admin.admission import Admission
from sidecar.config import AdminConfig
from sidecar.config.rules import split_address

log = logging.getLogger(__name__)

_BACKLOG = 128
_TLS_HANDSHAKE_SECONDS = 10.0


class Listeners:
    """All of them. Those of the socket and those of TCP are admitted apart: whoever may use the
    socket always gets through."""

    def __init__(
        self, config: AdminConfig, unix_path: Path, make: Callable[[], asyncio.Protocol]
    ) -> None:
        """`make` returns the protocol for one connection."""
        self._config = config
        self._unix_path = unix_path
        self._make = make
        self._servers: list[asyncio.AbstractServer] = []
        self._tls: ssl.SSLContext | None = None

    async def start(self) -> list[str]:
        """Listen wherever it is possible; return the places where it was not.

        The socket comes last: whoever sees it finds the addresses as well.
        """
        failed = []
        admission = Admission(self._make)
        for address in self._config.listen:
            try:
                await self._listen_tcp(address, admission)
            except (OSError, ssl.SSLError) as error:
                log.error("no admin API at %s: %s", address, error.strerror or error)
                failed.append(address)
        try:
            await self._listen_unix()
        except OSError as error:
            log.error("no admin API at %s: %s", self._unix_path, error.strerror or error)
            failed.append(str(self._unix_path))
        return failed

    def close(self) -> None:
        """Listen no more; what is connected stays."""
        for server in self._servers:
            server.close()

    def take_up_certificate(self) -> None:
        """Read the certificate again. Raises OSError, and then the one in use stays."""
        if self._tls is not None:
            _tls(self._config)  # a pair that does not fit must not replace one that does
            self._tls.load_cert_chain(*_pair(self._config))

    async def _listen_tcp(self, address: str, admission: Admission) -> None:
        split = split_address(address)
        assert split is not None  # the configuration was checked
        if self._config.certificate is not None and self._tls is None:
            self._tls = _tls(self._config)
        server = await asyncio.get_running_loop().create_server(
            admission,
            *split,
            ssl=self._tls,
            ssl_handshake_timeout=_TLS_HANDSHAKE_SECONDS if self._tls else None,
            backlog=_BACKLOG,
            reuse_address=True,
        )
        self._servers.append(server)

    async def _listen_unix(self) -> None:
        """Raises OSError. The socket of a daemon that is gone is replaced, one that lives not."""
        path = self._unix_path
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
            server = await asyncio.get_running_loop().create_server(
                Admission(self._make), sock=listener, backlog=_BACKLOG
            )
            self._servers.append(server)
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


def _tls(config: AdminConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(*_pair(config))
    return context


def _pair(config: AdminConfig) -> tuple[Path, Path | None]:
    assert config.certificate is not None
    return config.certificate, config.key
