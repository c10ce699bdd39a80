"""What certificates prove of a check: on the inbound stream, and on both sides."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cryptography.x509 import Certificate

from sidecar.jobs import Check
from sidecar.names import Domain
from sidecar.pkix.chain import TrustStore
from sidecar.pkix.flaws import Flaw, Flawed
from sidecar.pkix.names import name_for
from sidecar.pkix.peer import Proven, judge, same, trusted_leaf
from sidecar.s2s.watched_files import WatchedFiles

log = logging.getLogger(__name__)


def system_authorities() -> Path:
    """Where this system keeps the certificate authorities it trusts."""
    paths = ssl.get_default_verify_paths()
    return Path(paths.cafile or paths.openssl_cafile)


def utc_now() -> datetime:
    return datetime.now(UTC)


class Certificates:
    """Judges certificates by the authorities in a PEM bundle, which is read again when renewed.

    Raises OSError when `authorities` is given and cannot be read; of the system's, none is left
    then, and every certificate is untrusted.
    """

    def __init__(
        self, authorities: Path | None = None, *, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._path = authorities or system_authorities()
        self._now = now
        self._files = WatchedFiles(self._path)
        try:
            self._trust = TrustStore.from_pem(self._path.read_bytes())
        except OSError:
            if authorities is not None:
                raise
            self._trust = TrustStore([])
        if not len(self._trust):
            log.warning("no certificate authorities in %s: no certificate is trusted", self._path)

    def inbound(self, check: Check) -> Proven | Flawed:
        """What the peer has shown to our server, judged for the sender domain (XEP-0344 §2.5)."""
        if not check.encrypted:
            return Flawed(Flaw.NOT_ENCRYPTED)
        self._refresh()
        return judge(
            check.certificates, check.pair.sender, self._trust, self._now(), word=check.chain
        )

    def judge(self, chain: tuple[bytes, ...], domain: Domain) -> Proven | Flawed:
        """What a server has shown to us, judged for `domain`."""
        self._refresh()
        return judge(chain, domain, self._trust, self._now())

    def same(self, check: Check, theirs: bytes) -> Proven | None:
        """Whether `theirs`, shown to us just now, is also what the peer has shown to our server."""
        if not check.encrypted or not check.certificates:
            return None
        return same(check.certificates[0], theirs, check.pair.sender, self._now())

    def coverage(self, chain: tuple[bytes, ...]) -> Coverage:
        """The domains that a server is proven to speak for by the chain it has shown to us."""
        self._refresh()
        return Coverage(partial(trusted_leaf, chain, self._trust, self._now()))

    def _refresh(self) -> None:
        if not self._files.changed():
            return
        try:
            trust = TrustStore.from_pem(self._path.read_bytes())
        except OSError as error:
            log.warning("%s cannot be read, the authorities before stay: %s", self._path, error)
            return
        if len(trust):
            self._trust = trust


class Coverage:
    """What one certificate covers; its chain is judged when somebody asks for the first time."""

    def __init__(self, judge: Callable[[], Certificate | None]) -> None:
        self._judge = judge
        self._leaf: Certificate | None = None
        self._judged = False

    def covers(self, domain: Domain) -> bool:
        """Whether a certificate of an authority names `domain`."""
        if not self._judged:
            self._leaf, self._judged = self._judge(), True
        return self._leaf is not None and name_for(self._leaf, domain) is not None
