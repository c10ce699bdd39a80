"""Secrets at rest: AES-256-GCM under a key-encryption key (KEK), bound to their whole row."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sidecar.errors import SidecarError
from sidecar.keys.lifecycle import VersionFacts

KEK_BYTES = 32
_ID_BYTES = 8
_NONCE_BYTES = 12


class DamagedRow(SidecarError):
    """A row of the store is not what was written, or was sealed under a KEK we do not have."""


class Sealer:
    """Seals under the first of its KEKs; opens what any of them sealed."""

    def __init__(self, keks: Sequence[bytes], store_id: str) -> None:
        self._store_id = store_id
        self._ciphers = {kek_id(kek): AESGCM(kek) for kek in keks}
        self._first_id = kek_id(keks[0])

    def seal(self, facts: VersionFacts, secret: bytes) -> bytes:
        """Return KEK id (8 bytes), nonce (12), ciphertext and tag. A gone secret is empty."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._first_id].encrypt(nonce, secret, self._row(facts))
        return self._first_id + nonce + sealed

    def open(self, facts: VersionFacts, sealed: bytes) -> bytes:
        """Return the secret. Raises DamagedRow, which names the row."""
        cipher = self._ciphers.get(sealed[:_ID_BYTES])
        if cipher is None:
            raise DamagedRow(
                f"version {facts.number} of {facts.domain}: sealed under key-encryption key"
                f" {sealed[:_ID_BYTES].hex()}, which is not in the file"
            )
        nonce, ciphertext = sealed[_ID_BYTES:][:_NONCE_BYTES], sealed[_ID_BYTES + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, ciphertext, self._row(facts))
        except (InvalidTag, ValueError):
            raise DamagedRow(
                f"version {facts.number} of {facts.domain}: the row (id {facts.id}) was changed"
                " outside of dialback-keyd"
            ) from None

    @property
    def kek_id(self) -> str:
        return self._first_id.hex()

    def _row(self, facts: VersionFacts) -> bytes:
        """The associated data: every column of the row, and whose store it is."""
        return msgspec.msgpack.encode([self._store_id, facts])


def kek_id(kek: bytes) -> bytes:
    """Return a name for a KEK that does not give it away."""
    return sha256(b"dialback-keyd KEK id" + kek).digest()[:_ID_BYTES]
