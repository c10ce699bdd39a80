"""The versions of every sender domain: each change is one transaction, then true in memory."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from itertools import islice

from sidecar.errors import SidecarError
from sidecar.keyd.ballast import Ballast
from sidecar.keyd.secret_store import SecretStore
from sidecar.keys.dialback_key import SECRET_BYTES, KeyMaker
from sidecar.keys.domain_policy import Policies
from sidecar.keys.keyring import Keyring, SecretVersion
from sidecar.keys.ledger import Ledger
from sidecar.keys.lifecycle import (
    MAX_RETIRED,
    MAX_STATELESS_MS,
    VersionFacts,
    removable,
)
from sidecar.keys.rotation_schedule import RotationSchedule

log = logging.getLogger(__name__)

_AT_A_TIME = 100
"""Versions changed in one transaction of the upkeep, for keys wait meanwhile."""


class NotDone(SidecarError):
    """A change that is refused; `reason` is a stable code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Versions:
    """Creates, rotates, revokes, imports and removes versions; and keeps the keyring true.

    Its methods raise sqlite3.Error, and then nothing has changed, unless they say otherwise.
    """

    def __init__(
        self, store: SecretStore, ballast: Ballast, policies: Policies, *, now_ms: int
    ) -> None:
        """Load every version. Raises DamagedRow."""
        self._store = store
        self._ballast = ballast
        self.keyring = Keyring(
            SecretVersion(facts, KeyMaker(secret), uses=uses, last_use_ms=last_use_ms)
            for facts, secret, uses, last_use_ms in store.load()
            if facts.revoked_ms is None and facts.removed_ms is None
        )
        self.schedule = RotationSchedule(policies.rotate_ms, self.keyring.is_active)
        for version in self.keyring.all_active():
            self.schedule.add(version.facts, now_ms)
        self._condemned: dict[int, SecretVersion] = {}
        """Revoked in memory, where the store could not follow yet."""

    def create(self, domains: Sequence[str], now_ms: int) -> None:
        """Give each of these sender domains a new version that issues from now on: all or none."""
        if not domains:
            return
        made: list[SecretVersion] = []
        with self._store.transaction():
            for domain in domains:
                made.append(self._add(domain, now_ms))
        for version in made:
            self._take_in(version, now_ms)

    def rotate(self, domain: str, now_ms: int) -> list[VersionFacts]:
        """Rotate one sender domain. Raises NotDone."""
        if self.keyring.active(domain) is None:
            raise NotDone("no-such-domain")
        if self.keyring.retired_count(domain) >= MAX_RETIRED:
            raise NotDone("too-many-retired")
        return self._rotate([domain], now_ms)

    def rotate_after(self, name: str, now_ms: int) -> list[VersionFacts]:
        """Rotate the next sender domains after `name`; `next_after` tells where that ends."""
        domains = self._store.domains_after(name, _AT_A_TIME)
        active = [version for each in domains if (version := self.keyring.active(each))]
        return self._rotate(self._rotatable(active), now_ms)

    def next_after(self, name: str) -> str | None:
        """The last of the domains that `rotate_after` rotates; None when no more come."""
        domains = self._store.domains_after(name, _AT_A_TIME)
        return domains[-1] if len(domains) == _AT_A_TIME else None

    def _rotate(self, domains: Sequence[str], now_ms: int) -> list[VersionFacts]:
        self.create(domains, now_ms)
        return [version.facts for each in domains if (version := self.keyring.active(each))]

    def revoke(
        self, domain: str, number: int | None, now_ms: int
    ) -> tuple[list[VersionFacts], VersionFacts | None]:
        """Destroy a secret now; if it was the active one, the next is made with it.

        Returns the versions revoked, and the version made. Raises NotDone. A full disk does not
        hinder it. Should the store fail all the same, they are gone from memory nevertheless;
        sqlite3.Error or OSError tells that they are not gone from the disk, and `tend` goes on
        trying.
        """
        doomed = self.to_revoke(domain, number)
        for version in doomed:
            self.keyring.remove(version.id)
            self._condemned[version.id] = version
        return self._carry_out(doomed, now_ms)

    def to_revoke(self, domain: str, number: int | None) -> list[SecretVersion]:
        """Return the version meant, and before it the stateless ones that have its secret.

        (A secret imported to issue has one of each kind; the ledger still guards the keys of its
        ledger version when only the stateless one ends.) Without a number it is the active one,
        or the one whose revocation is not stored yet. Raises NotDone.
        """
        condemned = [each for each in self._condemned.values() if each.facts.domain == domain]
        known = [*self.keyring.of(domain), *condemned]
        if number is None:
            active = self.keyring.active(domain)
            named = condemned if active is None else [active]
        else:
            named = [each for each in known if each.facts.number == number]
        if not named:
            raise NotDone("no-such-version")
        version = named[-1]
        proof = version.maker.key(b"")
        stateless = [each for each in known if each.facts.kind == "stateless"]
        twins = [each for each in stateless if each.maker.key(b"") == proof]
        return [version] if version in twins else [*twins, version]

    def import_secret(
        self, domain: str, secret: bytes, lasting_ms: int, now_ms: int, *, issue: bool
    ) -> list[VersionFacts]:
        """Trust keys made with `secret` without the ledger for a while. Raises NotDone.

        With `issue` it is taken as a ledger version too, which is the active one from now on.
        """
        if not 0 < lasting_ms <= MAX_STATELESS_MS:
            raise NotDone("end-too-far")
        stateless = [each for each in self.keyring.of(domain) if each.facts.kind == "stateless"]
        if max(len(stateless), self.keyring.retired_count(domain)) >= MAX_RETIRED:
            raise NotDone("too-many-retired")
        ends_ms = now_ms + lasting_ms
        with self._store.transaction():
            made = [self._store.add(domain, "stateless", now_ms, secret, ends_ms=ends_ms)]
            if issue:
                made.append(self._store.add(domain, "ledger", now_ms, secret))
        for facts in made:
            self._take_in(SecretVersion(facts, KeyMaker(secret)), now_ms)
        return made

    def tend(self, ledger: Ledger, now_ms: int) -> None:
        """Finish what was revoked, rotate what is due, destroy what no key needs any more.

        Of each so many at a time.
        """
        for version in list(self._condemned.values())[:_AT_A_TIME]:
            self._carry_out([version], now_ms)
        self._rotate_due(now_ms)
        needless = (
            each
            for each in self.keyring.all_retired()
            if removable(each.facts, ledger.needed_until_ms(each.id), now_ms)
        )
        done = list(islice(needless, _AT_A_TIME))
        if done:
            with self._store.transaction():
                for version in done:
                    self._store.destroy(version.facts, removed_ms=now_ms)
            for version in done:
                self.keyring.remove(version.id)
                ledger.forget_version(version.id)
            log.info("destroyed %d versions that no key needs any more", len(done))

    def _rotate_due(self, now_ms: int) -> None:
        due = self.schedule.take_due(now_ms, _AT_A_TIME)
        versions = [version for each in due if (version := self.keyring.get(each))]
        try:
            self.create(self._rotatable(versions), now_ms)
        finally:
            self.schedule.retry([each for each in due if self.keyring.is_active(each)], now_ms)
        if due:
            log.info("rotated %d sender domains", len(due))

    def reschedule(self, domain: str, now_ms: int) -> None:
        """The policy of this domain has changed."""
        active = self.keyring.active(domain)
        if active is not None:
            self.schedule.add(active.facts, now_ms)

    def save_usage(self) -> None:
        """Note how often versions were used since the last time."""
        used = [each for each in self.keyring.all() if each.uses_unsaved]
        if used:
            with self._store.transaction():
                self._store.save_usage([(each.id, each.uses, each.last_use_ms) for each in used])
            for version in used:
                version.uses_unsaved = False

    def _add(self, domain: str, now_ms: int) -> SecretVersion:
        secret = secrets.token_bytes(SECRET_BYTES)
        return SecretVersion(self._store.add(domain, "ledger", now_ms, secret), KeyMaker(secret))

    def _carry_out(
        self, doomed: Sequence[SecretVersion], now_ms: int
    ) -> tuple[list[VersionFacts], VersionFacts | None]:
        """Store the revocation of versions of one domain that are gone from memory."""
        facts = [version.facts for version in doomed]
        gone, made = self._ballast.make_room_for(lambda: self._revoke(facts, now_ms))
        for version in doomed:
            del self._condemned[version.id]
        if made is None:
            return gone, None
        self._take_in(made, now_ms)
        return gone, made.facts

    def _revoke(
        self, doomed: Sequence[VersionFacts], now_ms: int
    ) -> tuple[list[VersionFacts], SecretVersion | None]:
        domain = doomed[0].domain
        issued = any(facts.kind == "ledger" for facts in doomed)
        orphaned = issued and self.keyring.active(domain) is None
        with self._store.transaction():
            gone = [self._store.destroy(facts, revoked_ms=now_ms) for facts in doomed]
            made = self._add(domain, now_ms) if orphaned else None
        return gone, made

    def _take_in(self, version: SecretVersion, now_ms: int) -> None:
        """It is stored; make it known, and see to it that it is rotated in time."""
        self.keyring.add(version)
        if self.keyring.is_active(version.id):
            self.schedule.add(version.facts, now_ms)

    def _rotatable(self, versions: Sequence[SecretVersion]) -> list[str]:
        """The domains of these; one with too many RETIRED versions waits for the next time."""
        return [
            each.facts.domain
            for each in versions
            if self.keyring.retired_count(each.facts.domain) < MAX_RETIRED
        ]
