"""The secrets in use, by sender domain and by version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sidecar.keys.dialback_key import KeyMaker
from sidecar.keys.lifecycle import VersionFacts


class SecretVersion:
    """One version whose secret exists, ready to make keys; and how much it was used."""

    __slots__ = ("facts", "id", "last_use_ms", "maker", "uses", "uses_unsaved")

    def __init__(
        self, facts: VersionFacts, maker: KeyMaker, *, uses: int = 0, last_use_ms: int = 0
    ) -> None:
        self.id = facts.id
        self.facts = facts
        self.maker = maker
        self.uses = uses
        """Keys issued under it; for a stateless version, keys found valid."""
        self.last_use_ms = last_use_ms
        self.uses_unsaved = False

    def count_use(self, now_ms: int) -> None:
        self.uses += 1
        self.last_use_ms = now_ms
        self.uses_unsaved = True


class Keyring:
    """All versions whose secret exists: ACTIVE and RETIRED."""

    def __init__(self, versions: Iterable[SecretVersion] = ()) -> None:
        self._by_id: dict[int, SecretVersion] = {}
        self._by_domain: dict[str, list[SecretVersion]] = {}
        self._active: dict[str, SecretVersion] = {}
        self._newest: dict[str, int] = {}
        self._retired: dict[int, SecretVersion] = {}
        for version in versions:
            self.add(version)

    def add(self, version: SecretVersion) -> None:
        """Take in a version. The newest ledger version that a domain ever had is the one that
        issues; without it none does: an older one never comes back."""
        domain = version.facts.domain
        if version.facts.kind == "ledger":
            self._newest[domain] = max(version.facts.number, self._newest.get(domain, 0))
        self._by_id[version.id] = version
        self._by_domain.setdefault(domain, []).append(version)
        self._sort_out(domain)

    def remove(self, version_id: int) -> None:
        """Let go of a version; nothing issued under it verifies any more."""
        version = self._by_id.pop(version_id, None)
        if version is not None:
            domain = version.facts.domain
            self._by_domain[domain].remove(version)
            self._retired.pop(version_id, None)
            self._sort_out(domain)

    def _sort_out(self, domain: str) -> None:
        self._active.pop(domain, None)
        for version in self._by_domain[domain]:
            facts = version.facts
            if facts.kind == "ledger" and facts.number == self._newest[domain]:
                self._active[domain] = version
                self._retired.pop(version.id, None)
            else:
                self._retired[version.id] = version

    def active(self, domain: str) -> SecretVersion | None:
        """Return the version that issues for `domain`; None if it has none."""
        return self._active.get(domain)

    def is_active(self, version_id: int) -> bool:
        version = self._by_id.get(version_id)
        return version is not None and self._active.get(version.facts.domain) is version

    def get(self, version_id: int) -> SecretVersion | None:
        return self._by_id.get(version_id)

    def of(self, domain: str) -> Sequence[SecretVersion]:
        return self._by_domain.get(domain, ())

    def all_active(self) -> Sequence[SecretVersion]:
        return tuple(self._active.values())

    def all_retired(self) -> Sequence[SecretVersion]:
        return tuple(self._retired.values())

    def all(self) -> Sequence[SecretVersion]:
        return tuple(self._by_id.values())

    def retired_count(self, domain: str) -> int:
        """How many ledger versions of `domain` wait for their last key to expire."""
        return sum(
            1 for each in self.of(domain) if each.id in self._retired and not each.facts.ends_ms
        )

    @property
    def domain_count(self) -> int:
        return len(self._by_domain)
