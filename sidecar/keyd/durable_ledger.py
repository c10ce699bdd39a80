"""The ledger with its journal: `apply(batch)` answers what is committed."""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Sequence

from sidecar.keyd.alarms import Alarms
from sidecar.keyd.journal import Journal
from sidecar.keyd.versions import Versions
from sidecar.keys.domain_policy import Policies
from sidecar.keys.ledger import NEVER_ISSUED, NO_SECRET, Ledger
from sidecar.keys.limits import Limits
from sidecar.keys.messages import Failed, IssueKey, Judged, JudgeKey, LedgerRequest, Refused, Reply

log = logging.getLogger(__name__)

FAULTS = (sqlite3.Error, OSError)
_STORE_FAILED = Failed("store-failed")
_JOURNAL_FAILED = Failed("journal-failed")
_DOMAINS_CAPPED = Refused("cap-domains")


class DurableLedger:
    """The one interface to the ledger: `apply`. A fault of the disk is an answer too."""

    def __init__(
        self,
        versions: Versions,
        journal: Journal,
        limits: Limits,
        policies: Policies,
        alarms: Alarms,
        *,
        complete: bool,
        now_ms: int,
    ) -> None:
        """Load the journal. `complete`: it ended with a clean stop, nothing is missing from it."""
        self._versions = versions
        self._journal = journal
        self._limits = limits
        self._policies = policies
        self._alarms = alarms
        self.rules = self._recall(complete, now_ms)
        self.judged: Counter[str] = Counter()

    def _recall(self, complete: bool, now_ms: int) -> Ledger:
        """Replay the journal."""
        limits = self._limits
        ledger = Ledger(self._versions.keyring, limits, self._policies.own_max_entries)
        for records in self._journal.read(now_ms - limits.memory_ms):
            ledger.replay(records)
        for path in self._journal.damaged:
            self._alarms.sound(
                "journal-damaged", path.name, "its rest was cut off, and keys with it", now_ms
            )
        if not complete or self._journal.damaged:
            ledger.forgetful_until_ms = now_ms + limits.lifetime_ms
            log.warning(
                "not stopped cleanly: keys that may have been forgotten get an error for %d s",
                limits.lifetime_ms // 1000,
            )
        return ledger

    def apply(self, batch: Sequence[LedgerRequest], now_ms: int) -> list[Reply]:
        """Answer a batch in order. What the answers say is committed when this returns."""
        without_secret = self._create_secrets(batch, now_ms)
        replies, records = self.rules.apply(batch, now_ms)
        if records:
            try:
                self._journal.append(records, now_ms)
            except FAULTS as error:
                self._alarms.sound("journal-failed", "ledger", str(error), now_ms)
                self.rules.undo()
                return [_JOURNAL_FAILED] * len(batch)
        self.rules.keep()
        self.judged.update(
            [each.reason or each.outcome for each in replies if type(each) is Judged]
        )
        if without_secret is not None:
            replies = [without_secret if reply is NO_SECRET else reply for reply in replies]
        if NEVER_ISSUED in replies:
            self._sound_leaks(batch, replies, now_ms)
        return replies

    def judge(self, request: JudgeKey, now_ms: int) -> Judged:
        """Return what a key is worth now; nothing is used up, and nothing counted."""
        judged = self.rules.judge(request, now_ms)
        if judged is NEVER_ISSUED:
            self._sound_leak(request.sender, now_ms)
        return judged

    def tend(self) -> None:
        """Drop the part of the journal that is needed no more. Raises OSError."""
        self._journal.drop(self.rules.kept_from_ms)

    def _create_secrets(self, batch: Sequence[LedgerRequest], now_ms: int) -> Reply | None:
        """Generate secrets for new sender domains; return the answer where there is none."""
        keyring = self._versions.keyring
        new: dict[str, None] = {}
        for request in batch:
            if type(request) is IssueKey and keyring.active(request.sender) is None:
                new[request.sender] = None
        if not new:
            return None
        room = max(0, self._limits.domains - keyring.domain_count)
        try:
            self._versions.create(list(new)[:room], now_ms)
        except FAULTS as error:
            self._alarms.sound("store-failed", "secrets", str(error), now_ms)
            return _STORE_FAILED
        return _DOMAINS_CAPPED

    def _sound_leaks(
        self, batch: Sequence[LedgerRequest], replies: Sequence[Reply], now_ms: int
    ) -> None:
        for request, reply in zip(batch, replies, strict=True):
            if reply is NEVER_ISSUED:
                self._sound_leak(request.sender, now_ms)

    def _sound_leak(self, sender: str, now_ms: int) -> None:
        self._alarms.sound(
            "key-never-issued",
            sender,
            "a key is right but was never issued: its secret has leaked, or an old key was"
            " replayed; if in doubt, revoke the secret",
            now_ms,
        )
