"""The certificates the listener shows: the one for the domain that SNI names, renewed at once."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence
from contextlib import suppress

from sidecar.config import CertificateConfig
from sidecar.errors import InvalidValue
from sidecar.names import Domain
from sidecar.s2s.tls import server_context
from sidecar.s2s.watched_files import WatchedFiles

log = logging.getLogger(__name__)


class ServerContexts:
    """One TLS context that turns into that of the right certificate during the handshake.

    Raises OSError, naming the file, when a certificate cannot be used at the start; later the one
    before it stays.
    """

    def __init__(self, certificates: Sequence[CertificateConfig]) -> None:
        self._shown = [_Shown(certificate) for certificate in certificates]

    @property
    def usable(self) -> bool:
        return bool(self._shown)

    def entrance(self) -> ssl.SSLContext:
        """The context to begin a handshake with."""
        context = self._shown[0].context()
        context.sni_callback = self._choose
        return context

    def _choose(
        self, session: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
    ) -> None:
        if name is None:
            return
        with suppress(InvalidValue):
            domain = Domain.parse(name)
            for shown in self._shown:
                if shown.config.domains.speaks_for(domain):
                    session.context = shown.context()
                    return


class _Shown:
    """One certificate as it was when its files were last read."""

    def __init__(self, config: CertificateConfig) -> None:
        self.config = config
        self._files = WatchedFiles(config.certificate, config.key)
        try:
            self._context = _load(config)
        except (OSError, ssl.SSLError) as error:
            raise OSError(f"certificate {config.certificate}: {error}") from error

    def context(self) -> ssl.SSLContext:
        """The context of the files as they are now."""
        if self._files.changed():
            try:
                self._context = _load(self.config)
            except (OSError, ssl.SSLError) as error:  # or half of a renewal: the rest follows
                log.warning(
                    "%s is of no use, the one before stays: %s", self.config.certificate, error
                )
            else:
                log.info("certificate %s was renewed", self.config.certificate)
        return self._context


def _load(config: CertificateConfig) -> ssl.SSLContext:
    context = server_context()
    context.load_cert_chain(config.certificate, config.key, password="")
    return context
