"""TLS for the load: a self-signed certificate that nobody checks, so that dialback decides."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from sidecar.lab.certificates import Certificate, self_signed


@dataclass(frozen=True)
class Tls:
    """One context for streams we accept, one for streams we open."""

    accepting: ssl.SSLContext
    connecting: ssl.SSLContext

    @classmethod
    def self_signed(cls, directory: Path) -> Tls:
        """Make a certificate in `directory`."""
        return cls.shown(directory, self_signed("peers.example"))

    @classmethod
    def shown(cls, directory: Path, shown: Certificate) -> Tls:
        """Show this certificate both ways; it is written to `directory`."""
        certificate, key = shown.write(directory, "peers")
        accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        connecting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        connecting.check_hostname = False
        connecting.verify_mode = ssl.CERT_NONE
        for context in (accepting, connecting):
            context.load_cert_chain(certificate, key)
        return cls(accepting, connecting)
