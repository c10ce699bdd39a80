"""The ledger with its journal and its secrets: `apply(batch)` answers what is committed."""

from __future__ import annotations

import logging
import sqlite3
import struct
from collections.abc import Sequence

from sidecar.keyd.journal import Journal
from sidecar.keyd.secret_store import SecretStore
from sidecar.keys.keyring import Keyring
from sidecar.keys.ledger import NEVER_ISSUED, NO_SECRET, Ledger
from sidecar.keys.limits import Limits
from sidecar.keys.messages import Failed, IssueKey, LedgerRequest, Refused, Reply

log = logging.getLogger(__name__)

_FAULTS = (sqlite3.Error, OSError)
_STORE_FAILED = Failed("store-failed")
_JOURNAL_FAILED = Failed("journal-failed")
_DOMAINS_CAPPED = Refused("cap-domains")


class DurableLedger:
    """The one interface to the ledger: `apply`. A fault of the disk is an answer too."""

    def __init__(
        self, store: SecretStore, journal: Journal, limits: Limits, *, now_ms: int
    ) -> None:
        """Load secrets and journal. Raises sqlite3.Error where the secrets cannot be read."""
        self._store = store
        self._journal = journal
        self._limits = limits
        self._now_ms = now_ms
        self._keyring = Keyring(store.load())
        complete = store.begin_run()
        self._ledger, complete = self._recall(complete)
        if not complete:
            log.warning(
                "not stopped cleanly: keys that may have been forgotten get an error for %d s",
                limits.lifetime_ms // 1000,
            )

    def _recall(self, complete: bool) -> tuple[Ledger, bool]:
        limits, now_ms = self._limits, self._now_ms
        forgetful_until_ms = 0 if complete else now_ms + limits.lifetime_ms
        ledger = Ledger(self._keyring, limits, forgetful_until_ms=forgetful_until_ms)
        try:
            for records in self._journal.read(now_ms - limits.memory_ms):
                ledger.replay(records)
        except (*_FAULTS, struct.error) as error:
            log.error("the ledger's journal is damaged (%s): what follows in it is lost", error)
            if complete:
                return self._recall(False)
        return ledger, complete

    def apply(self, batch: Sequence[LedgerRequest], now_ms: int) -> list[Reply]:
        """Answer a batch in order. What the answers say is committed when this returns."""
        now_ms = self._now_ms = max(now_ms, self._now_ms)
        without_secret = self._create_secrets(batch, now_ms)
        replies, records = self._ledger.apply(batch, now_ms)
        if records:
            try:
                self._journal.append(records, now_ms)
            except _FAULTS as error:
                log.error("the ledger's journal cannot be written: %s", error)
                self._ledger.undo()
                return [_JOURNAL_FAILED] * len(batch)
        self._ledger.keep()
        if without_secret is not None:
            replies = [without_secret if reply is NO_SECRET else reply for reply in replies]
        if NEVER_ISSUED in replies:
            self._alarm(batch, replies)
        return replies

    def tidy(self) -> None:
        """Drop the part of the journal that is needed no more."""
        try:
            self._journal.drop(self._ledger.kept_from_ms)
        except OSError as error:
            log.error("the ledger's old segments cannot be removed: %s", error)

    def close(self) -> None:
        """Stop cleanly: nothing is missing from the journal."""
        try:
            self._journal.close()
            self._store.end_run(self._now_ms)
        except _FAULTS as error:
            log.error("no clean stop: %s", error)
        self._store.close()

    def _create_secrets(self, batch: Sequence[LedgerRequest], now_ms: int) -> Reply | None:
        """Generate secrets for new sender domains; return the answer where there is none."""
        new: dict[str, None] = {}
        for request in batch:
            if type(request) is IssueKey and self._keyring.active(request.sender) is None:
                new[request.sender] = None
        if not new:
            return None
        room = max(0, self._limits.domains - self._keyring.domain_count)
        try:
            for version in self._store.create(list(new)[:room], now_ms):
                self._keyring.add(version)
                log.info("%s has its first secret", version.domain)
        except _FAULTS as error:
            log.error("the secret store cannot be written: %s", error)
            return _STORE_FAILED
        return _DOMAINS_CAPPED

    def _alarm(self, batch: Sequence[LedgerRequest], replies: Sequence[Reply]) -> None:
        for request, reply in zip(batch, replies, strict=True):
            if reply is NEVER_ISSUED:
                log.critical(
                    "ALARM: a key of %s for %s is right but was never issued: a secret has leaked,"
                    " or a key was replayed long after it expired",
                    request.sender,
                    request.target,
                )
