"""Everything keyd knows and does, behind two questions: `apply` a batch, `administer` a request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from sidecar.keyd.administration import Administration
from sidecar.keyd.alarms import Alarms
from sidecar.keyd.ballast import Ballast
from sidecar.keyd.bearer_desk import BearerDesk
from sidecar.keyd.clock import ClockSource, LedgerClock
from sidecar.keyd.durable_ledger import FAULTS, DurableLedger
from sidecar.keyd.journal import Journal
from sidecar.keyd.kek_rotation import KekRotation
from sidecar.keyd.policy_store import PolicyStore
from sidecar.keyd.sealing import DamagedRow
from sidecar.keyd.secret_store import SecretStore
from sidecar.keyd.token_store import TokenStore
from sidecar.keyd.versions import Versions
from sidecar.keys.domain_policy import Policies
from sidecar.keys.limits import Limits
from sidecar.keys.messages import (
    AsBearer,
    DryRun,
    LedgerRequest,
    Question,
    Reply,
    TokenRequest,
    WhoBears,
)

log = logging.getLogger(__name__)

_TEND_MS = 250
_SAVE_MS = 60_000


class KeyService:
    """Store, ledger and clock of one state directory."""

    def __init__(
        self,
        store: SecretStore,
        journal: Journal,
        ballast: Ballast,
        kek: KekRotation,
        source: ClockSource,
        *,
        limits: Limits,
        rotation_ms: int,
        memory_locked: bool = False,
        first_token_file: Path | None = None,
    ) -> None:
        """Load everything. Raises DamagedRow, OSError, sqlite3.Error.

        An administrator's token is written to `first_token_file` if there is no token at all.
        """
        store.unseal(kek.sealer)
        self._store = store
        self._journal = journal
        self._ballast = ballast
        self._kek = kek
        self._clock = LedgerClock(source, store.fact("clock"), journal.latest_ms())
        self._alarms = Alarms()
        now_ms = self._clock.now_ms()
        policies = Policies(rotate_ms=rotation_ms, max_entries=limits.entries_per_sender)
        policy_store = PolicyStore(store, policies)
        self._versions = Versions(store, ballast, policies, now_ms=now_ms)
        complete = store.fact("clean-stop") is not None or self._versions.keyring.domain_count == 0
        if self._clock.ran_backwards:
            self._alarms.sound(
                "clock",
                "start",
                "time ran backwards since the last stop; keys"
                " issued before it get an error for now",
                now_ms,
            )
            journal.discard()
            complete = False
        ballast.make_room_for(lambda: self._save_facts(clean_stop=False))
        self._ledger = DurableLedger(
            self._versions,
            journal,
            limits,
            policies,
            self._alarms,
            complete=complete,
            now_ms=now_ms,
        )
        self._administration = Administration(
            store,
            self._versions,
            policy_store,
            self._ledger,
            kek,
            self._alarms,
            memory_locked=memory_locked,
        )
        self._tokens = TokenStore(store)
        if first_token_file is not None:
            self._tokens.create_first(first_token_file, now_ms)
        self._desk = BearerDesk(store, self._tokens, self._versions, self._administration.answer)
        self._next_tend_ms = now_ms
        self._next_save_ms = now_ms + _SAVE_MS

    def apply(self, batch: Sequence[LedgerRequest]) -> list[Reply]:
        """Answer requests about keys, in order."""
        return self._ledger.apply(batch, self._clock.now_ms())

    def administer(self, request: Question) -> Reply:
        """Answer one request of an operator."""
        now_ms = self._clock.now_ms()
        if isinstance(request, TokenRequest | DryRun | AsBearer | WhoBears):
            return self._desk.answer(request, now_ms)
        return self._administration.answer(request, now_ms)

    def tend(self) -> None:
        """Do what is due; call it often. A failure is an alarm, and is tried again."""
        now_ms = self._clock.now_ms()
        if now_ms < self._next_tend_ms:
            return
        self._next_tend_ms = now_ms + _TEND_MS
        self._attempt("old ledger segments", self._ledger.tend, now_ms)
        self._attempt("versions", lambda: self._versions.tend(self._ledger.rules, now_ms), now_ms)
        self._attempt("kek rotation", lambda: self._kek.tend(self._store), now_ms)
        if now_ms >= self._next_save_ms:
            self._next_save_ms = now_ms + _SAVE_MS
            self._attempt("usage", self._save, now_ms)
            self._ballast.take_on()
        ahead_ms = self._clock.deviation_ms()
        if ahead_ms:
            text = f"the system's clock stepped by {ahead_ms / 1000:.0f} s; keys do not follow it"
            self._alarms.sound("clock", "step", text, now_ms)

    def close(self) -> None:
        """Stop cleanly: nothing is missing from the journal."""
        try:
            self._journal.close()
            self._versions.save_usage()
            self._tokens.save_uses()
            self._save_facts(clean_stop=True)
        except FAULTS as error:
            log.error("no clean stop: %s", error)
        self._store.close()

    def _attempt(self, what: str, step: Callable[[], None], now_ms: int) -> None:
        try:
            step()
        except (*FAULTS, DamagedRow) as error:
            self._alarms.sound("store-failed", what, str(error), now_ms)

    def _save(self) -> None:
        self._versions.save_usage()
        self._tokens.save_uses()
        self._save_facts(clean_stop=False)

    def _save_facts(self, *, clean_stop: bool) -> None:
        with self._store.transaction():
            self._store.set_fact("clock", self._clock.mark())
            self._store.set_fact("clean-stop", "yes" if clean_stop else None)
