"""What we show of ourselves: a client certificate for each local domain, renewed while running.

A server that demands certificates (`s2s_secure_auth`) closes a verification stream without one.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence

from sidecar.config.types import CertificateConfig
from sidecar.names import Domain
from sidecar.s2s.tls import client_context
from sidecar.s2s.watched_files import WatchedFiles

log = logging.getLogger(__name__)

_Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
"""For STARTTLS, and for TLS before the stream."""


class Credentials:
    """The TLS contexts to dial with, by local domain; the first certificate that fits is shown.

    Raises OSError, naming the file, when a certificate cannot be used at the start. One that
    cannot be used later is not taken, and the one before it stays.
    """

    def __init__(self, certificates: Sequence[CertificateConfig] = ()) -> None:
        self._shown = [_Shown(certificate) for certificate in certificates]
        self._bare = (client_context(), client_context(direct=True))

    def context(self, local: Domain, *, direct_tls: bool = False) -> ssl.SSLContext:
        """The context for a stream from `local`; `direct_tls`: TLS before the stream."""
        for shown in self._shown:
            if shown.config.domains.speaks_for(local):
                return shown.contexts()[direct_tls]
        return self._bare[direct_tls]

    def shows(self, local: Domain) -> bool:
        """Whether there is a certificate for `local`."""
        return any(shown.config.domains.speaks_for(local) for shown in self._shown)


class _Shown:
    """One certificate as it was when its files were last read."""

    def __init__(self, config: CertificateConfig) -> None:
        self.config = config
        self._files = WatchedFiles(config.certificate, config.key)
        try:
            self._contexts = _load(config)
        except (OSError, ssl.SSLError) as error:
            raise OSError(f"certificate {config.certificate}: {error}") from error

    def contexts(self) -> _Contexts:
        """The contexts for STARTTLS and for direct TLS, of the files as they are now."""
        if not self._files.changed():  # what cannot be used is tried once for each change
            return self._contexts
        path = self.config.certificate
        try:
            self._contexts = _load(self.config)
        except (OSError, ssl.SSLError) as error:  # or half of a renewal: the other half follows
            log.warning("%s is of no use, the one before stays: %s", path, error)
        else:
            log.info("client certificate %s was renewed", path)
        return self._contexts


def _load(config: CertificateConfig) -> _Contexts:
    contexts = (client_context(), client_context(direct=True))
    for context in contexts:
        context.load_cert_chain(config.certificate, config.key, password="")
    return contexts
