"""Which local domains a link speaks for."""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.errors import InvalidValue, shorten
from sidecar.names import Domain


class LinkDomains:
    """The `domains` of a link: names, `*.name` for all below a name, `*` for every name.

    With `*` (hosters) it cannot be told from the configuration alone which domains are local;
    the link then learns them from the server's own authenticated requests.
    """

    __slots__ = ("_names", "_parents", "any_domain", "patterns")

    def __init__(self, patterns: Sequence[str]) -> None:
        """Raises InvalidValue, naming every pattern that is neither a domain nor a wildcard."""
        self._names: set[Domain] = set()
        self._parents: set[Domain] = set()
        self.any_domain = False
        refused = []
        for pattern in patterns:
            try:
                if pattern == "*":
                    self.any_domain = True
                elif pattern.startswith("*."):
                    self._parents.add(Domain.parse(pattern[2:]))
                else:
                    self._names.add(Domain.parse(pattern))
            except InvalidValue:
                refused.append(shorten(pattern))
        if refused:
            raise InvalidValue("domains", f"expected domain names, got {', '.join(refused)}")
        if not patterns:
            raise InvalidValue("domains", "expected at least one domain, or '*'")
        self.patterns = tuple(patterns)

    def speaks_for(self, domain: Domain) -> bool:
        """Whether requests about `domain` may come over this link."""
        return self.any_domain or self.names(domain)

    def names(self, domain: Domain) -> bool:
        """Whether the configuration names `domain`, by itself or by a parent; `*` names none."""
        if domain in self._names:
            return True
        if not self._parents:
            return False
        labels = domain.split(".")
        return any(".".join(labels[i:]) in self._parents for i in range(1, len(labels)))

    def overlap(self, other: LinkDomains) -> set[str]:
        """The names and `*.` patterns that both links claim literally."""
        parents = {f"*.{parent}" for parent in self._parents & other._parents}
        both_any = {"*"} if self.any_domain and other.any_domain else set()
        return {*(self._names & other._names), *parents, *both_any}

    def __repr__(self) -> str:
        return f"LinkDomains({list(self.patterns)!r})"
