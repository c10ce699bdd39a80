"""What operators ask on the admin socket. No answer holds a secret."""

from __future__ import annotations

import errno
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from sidecar.keyd.alarms import Alarms
from sidecar.keyd.durable_ledger import DurableLedger
from sidecar.keyd.kek_rotation import KekRotation
from sidecar.keyd.policy_store import PolicyStore
from sidecar.keyd.secret_store import CannotCopy, SecretStore
from sidecar.keyd.versions import NotDone, Versions
from sidecar.keys.lifecycle import State, VersionFacts, state_of
from sidecar.keys.messages import (
    AdminRequest,
    Backup,
    Changed,
    ChangePolicy,
    Done,
    Failed,
    GetPolicies,
    GetStatus,
    ImportSecret,
    JudgeKey,
    KeyPolicy,
    ListedVersion,
    ListVersions,
    PolicyList,
    Refused,
    Reply,
    RevokeSecret,
    RotateKek,
    RotateSecret,
    Status,
    VersionList,
)

log = logging.getLogger(__name__)

_DOMAINS_PER_LIST = 16
_NAMED_PER_CHANGE = 100
_CANNOT_COPY = {
    errno.EEXIST: "file-exists",
    errno.ENOENT: "no-such-directory",
    errno.ENOTDIR: "no-such-directory",
    errno.ENOSPC: "no-room-there",
    errno.EDQUOT: "no-room-there",
}


class Administration:
    """Answers one request at a time, between two batches of the ledger."""

    def __init__(
        self,
        store: SecretStore,
        versions: Versions,
        policies: PolicyStore,
        ledger: DurableLedger,
        kek: KekRotation,
        alarms: Alarms,
        *,
        memory_locked: bool,
    ) -> None:
        self._store = store
        self._versions = versions
        self._policies = policies
        self._ledger = ledger
        self._kek = kek
        self._alarms = alarms
        self._memory_locked = memory_locked

    def answer(self, request: AdminRequest, now_ms: int) -> Reply:
        """Do it, or say why not: Refused with a reason, Failed when a disk is in trouble."""
        try:
            return self._do(request, now_ms)
        except NotDone as error:
            return Refused(error.reason)
        except (sqlite3.Error, OSError) as error:
            self._alarms.sound("store-failed", type(request).__name__, str(error), now_ms)
            return Failed("store-failed")

    def _do(self, request: AdminRequest, now_ms: int) -> Reply:
        match request:
            case ListVersions():
                return self._list(request, now_ms)
            case RotateSecret(None, name):
                after = self._versions.next_after(name)
                rotated = self._versions.rotate_after(name, now_ms)
                return _changed("rotated", rotated, after=after)
            case RotateSecret(str(domain)):
                return _changed("rotated", self._versions.rotate(domain, now_ms))
            case RevokeSecret(domain, number):
                return _changed("revoked", *self._versions.revoke(domain, number, now_ms))
            case ImportSecret(domain, secret, seconds, issue):
                imported = self._versions.import_secret(
                    domain, secret, seconds * 1000, now_ms, issue=issue
                )
                return _changed("imported", imported)
            case GetPolicies(domains):
                return PolicyList([self._policies.policy(domain) for domain in domains])
            case ChangePolicy():
                return self._change_policy(request, now_ms)
            case JudgeKey():
                return self._ledger.judge(request, now_ms)
            case RotateKek():
                self._kek.begin(self._store)
            case Backup(path):
                if self._kek.under_way:
                    raise NotDone("kek-rotation-under-way")
                self._back_up(Path(path))
            case GetStatus():
                return self._status(now_ms)
        return Done()

    def _change_policy(self, request: ChangePolicy, now_ms: int) -> KeyPolicy:
        if self._versions.keyring.active(request.domain) is None:
            raise NotDone("no-such-domain")
        changed = self._policies.change(request.domain, request.changes, request.precondition)
        self._versions.reschedule(request.domain, now_ms)
        return changed

    def _back_up(self, path: Path) -> None:
        try:
            self._store.copy_to(path)
        except CannotCopy as error:
            log.warning("cannot write a backup to %s: %s", path, error)
            raise NotDone(_CANNOT_COPY.get(error.errno, "path-not-writable")) from error
        log.info("wrote a backup to %s", path)

    def _list(self, request: ListVersions, now_ms: int) -> VersionList:
        if request.domain is not None:
            return VersionList(list(self._listed(request.domain, now_ms)), None)
        domains = self._store.domains_after(request.after, _DOMAINS_PER_LIST)
        listed = [version for domain in domains for version in self._listed(domain, now_ms)]
        return VersionList(listed, domains[-1] if len(domains) == _DOMAINS_PER_LIST else None)

    def _listed(self, domain: str, now_ms: int) -> Iterator[ListedVersion]:
        active = self._versions.keyring.active(domain)
        for facts in self._store.facts_of(domain):
            version = self._versions.keyring.get(facts.id)
            if version is not None:
                uses, last_use_ms = version.uses, version.last_use_ms
            else:
                uses, last_use_ms = self._store.usage_of(facts.id)
            state = state_of(facts, active.id if active is not None else None)
            due_ms = self._versions.schedule.due_ms(facts, now_ms)
            yield ListedVersion(
                domain=facts.domain,
                number=facts.number,
                kind=facts.kind,
                state=state.value,
                created_ms=facts.created_ms,
                ends_ms=facts.ends_ms,
                revoked_ms=facts.revoked_ms,
                removed_ms=facts.removed_ms,
                next_rotation_ms=due_ms if state is State.ACTIVE else None,
                uses=uses,
                last_use_ms=last_use_ms or None,
            )

    def _status(self, now_ms: int) -> Status:
        keyring = self._versions.keyring
        versions = keyring.all()
        return Status(
            store_id=self._store.store_id,
            domains=keyring.domain_count,
            versions=len(versions),
            stateless_versions=sum(1 for each in versions if each.facts.kind == "stateless"),
            live_keys=self._ledger.rules.live_count,
            judged=dict(self._ledger.judged),
            next_rotation_ms=self._versions.schedule.next_ms(),
            kek_id=self._store.sealer.kek_id,
            rewrapping=self._kek.under_way,
            memory_locked=self._memory_locked,
            now_ms=now_ms,
            alarms=self._alarms.list(),
        )


def _changed(
    verb: str,
    versions: Sequence[VersionFacts],
    successor: VersionFacts | None = None,
    *,
    after: str | None = None,
) -> Changed:
    for facts in versions[:_NAMED_PER_CHANGE]:
        log.info("%s: %s version %d", verb, facts.domain, facts.number)
    if successor is not None:
        log.info("made: %s version %d", successor.domain, successor.number)
    named = [(facts.domain, facts.number) for facts in versions[:_NAMED_PER_CHANGE]]
    return Changed(len(versions), named, None if successor is None else successor.number, after)
