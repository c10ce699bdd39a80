"""The secrets in use, by sender domain and by version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sidecar.keys.dialback_key import KeyMaker


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One secret of one sender domain, ready to make keys.

    `id` is unique in the store, `number` counts the versions of this domain from 1.
    """

    id: int
    domain: str
    number: int
    created_ms: int
    maker: KeyMaker


class Keyring:
    """All versions whose secret exists."""

    def __init__(self, versions: Iterable[SecretVersion] = ()) -> None:
        self._by_id: dict[int, SecretVersion] = {}
        self._by_domain: dict[str, list[SecretVersion]] = {}
        for version in versions:
            self.add(version)

    def add(self, version: SecretVersion) -> None:
        """Take in a version; the one with the highest number is the one that issues."""
        self._by_id[version.id] = version
        versions = self._by_domain.setdefault(version.domain, [])
        versions.append(version)
        versions.sort(key=lambda each: each.number)

    def active(self, domain: str) -> SecretVersion | None:
        """Return the version that issues for `domain`; None if it has none yet."""
        versions = self._by_domain.get(domain)
        return versions[-1] if versions else None

    def get(self, version_id: int) -> SecretVersion | None:
        return self._by_id.get(version_id)

    def of(self, domain: str) -> Sequence[SecretVersion]:
        return self._by_domain.get(domain, ())

    @property
    def domain_count(self) -> int:
        return len(self._by_domain)
