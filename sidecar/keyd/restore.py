"""Putting a backup in the place of a store that is lost.

The ledger is left out, so what was issued shortly before is answered with `error` for one
lifetime; and every sender domain gets a new secret, for who knows who has seen the backup.
Imported secrets and API tokens are left out too: some may have been revoked since.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sidecar.errors import SidecarError
from sidecar.keyd.ballast import Ballast
from sidecar.keyd.clock import ClockSource, LedgerClock
from sidecar.keyd.kek_rotation import KekRotation
from sidecar.keyd.secret_store import SecretStore
from sidecar.keyd.state_directory import StateDirectory
from sidecar.keyd.versions import Versions
from sidecar.keys.domain_policy import Policies


class RestoreRefused(SidecarError):
    """There is a store already."""


def restore(
    backup: Path, directory: StateDirectory, kek_path: Path, writable: bool, source: ClockSource
) -> tuple[int, list[str]]:
    """Return how many sender domains were restored, and those whose imported secrets were not.

    When it fails, nothing is in place.

    Raises RestoreRefused, KekError, DamagedRow, NewerSchema, sqlite3.Error, OSError.
    """
    if directory.secrets.exists():
        raise RestoreRefused(f"{directory.secrets}: there is a store already; move it away first")
    copy = directory.secrets.with_suffix(".restoring")
    copy.unlink(missing_ok=True)
    with backup.open("rb") as whole:
        descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(whole, file)
    try:
        restored = _make_new(SecretStore(copy), directory, kek_path, writable, source)
        if directory.ledger.exists():
            shutil.rmtree(directory.ledger)
        copy.rename(directory.secrets)
    finally:
        copy.unlink(missing_ok=True)
    return restored


def _make_new(
    store: SecretStore,
    directory: StateDirectory,
    kek_path: Path,
    writable: bool,
    source: ClockSource,
) -> tuple[int, list[str]]:
    try:
        kek = KekRotation.open(kek_path, writable, holds_sealed=store.holds_sealed)
        store.unseal(kek.sealer)
        now_ms = LedgerClock(source, store.fact("clock"), 0).now_ms()
        policies = Policies(rotate_ms=1, max_entries=1)
        versions = Versions(store, Ballast(directory.ballast), policies, now_ms=now_ms)
        domains = [each.facts.domain for each in versions.keyring.all_active()]
        versions.create(domains, now_ms)
        imported = [each for each in versions.keyring.all() if each.facts.kind == "stateless"]
        with store.transaction():
            for version in imported:
                store.destroy(version.facts, revoked_ms=now_ms)
            store.database.execute("DELETE FROM token")
            store.database.execute("DELETE FROM done")
            store.set_fact("clean-stop", None)
    finally:
        store.close()
    return len(domains), sorted({each.facts.domain for each in imported})
