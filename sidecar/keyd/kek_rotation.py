"""Sealing everything under a new key-encryption key, a few rows at a time, while serving.

    1. the new KEK goes into the file before the old ones
    2. rows are sealed again under it, so many in a transaction
    3. when no row needs the old ones, they leave the file

Killed in between, the next start finds more than one KEK in the file and goes on with 2.
"""

from __future__ import annotations

import logging
from pathlib import Path

from sidecar.keyd import kek_file
from sidecar.keyd.sealing import Sealer
from sidecar.keyd.secret_store import SecretStore
from sidecar.keyd.versions import NotDone

log = logging.getLogger(__name__)

_ROWS_AT_A_TIME = 200


class KekRotation:
    """The KEKs of a store and the file they are in."""

    def __init__(self, path: Path, writable: bool, keks: tuple[bytes, ...]) -> None:
        self._path = path
        self._writable = writable
        self._keks = keks
        self.under_way = len(keks) > 1

    @classmethod
    def open(cls, path: Path, writable: bool, *, holds_sealed: bool) -> KekRotation:
        """Read the file; create it where nothing is sealed yet. Raises KekError, OSError."""
        try:
            keks = kek_file.read(path)
        except FileNotFoundError:
            if holds_sealed:
                raise kek_file.KekError(
                    f"{path}: there is no key-encryption key, but secrets are sealed under one:"
                    " put it back"
                ) from None
            if not writable:
                raise
            keks = (kek_file.generate(),)
            kek_file.write(path, keks)
            log.info("created a key-encryption key in %s", path)
        return cls(path, writable, keks)

    def sealer(self, store_id: str) -> Sealer:
        return Sealer(self._keks, store_id)

    def begin(self, store: SecretStore) -> None:
        """Step 1. Raises NotDone, OSError."""
        if self.under_way:
            raise NotDone("kek-rotation-under-way")
        if not self._writable:
            raise NotDone("kek-file-not-ours")
        keks = (kek_file.generate(), *self._keks)
        kek_file.write(self._path, keks)
        self._keks = keks
        self.under_way = True
        store.sealer = self.sealer(store.store_id)

    def tend(self, store: SecretStore) -> None:
        """Steps 2 and 3, a piece of it. Raises sqlite3.Error, OSError; call it again then."""
        if not self.under_way:
            return
        with store.transaction():
            if store.rewrap(_ROWS_AT_A_TIME) == _ROWS_AT_A_TIME:
                return
        if self._writable:
            kek_file.write(self._path, self._keks[:1])
        else:
            log.warning(
                "every secret is sealed under the first key of %s; remove the others", self._path
            )
        self._keks = self._keks[:1]
        self.under_way = False
        store.sealer = self.sealer(store.store_id)
        log.info("every secret is sealed under key-encryption key %s", store.sealer.kek_id)
