"""Who asks, and how."""

from __future__ import annotations

from dataclasses import dataclass, field

from sidecar.keys.scopes import Scope, allows
from sidecar.operations.refusals import Refusal
from sidecar.preconditions import NO_PRECONDITION, Precondition


@dataclass(frozen=True, slots=True)
class Caller:
    """The bearer of a token that the key service knows. `domains` None: all."""

    token: str = field(repr=False)
    id: str
    scopes: tuple[str, ...]
    domains: tuple[str, ...] | None

    def need(self, scope: Scope) -> None:
        """Raises Refusal when the token does not have this scope."""
        if not allows(self.scopes, scope):
            raise Refusal("scope-missing", f"this needs {scope.value}", scope=scope.value)

    def need_domain(self, domain: str | None) -> None:
        """Raises Refusal when the token is not for `domain`; None: all of them."""
        if not self.may_see(domain):
            raise Refusal("domain-not-permitted")

    def may_see(self, domain: str | None) -> bool:
        return self.domains is None or domain in self.domains


@dataclass(frozen=True, slots=True)
class Call:
    """One call: by whom, with which key it may be repeated without being done again, and what the
    resource must be for it to be changed."""

    caller: Caller
    repeat_key: str | None = None
    precondition: Precondition = NO_PRECONDITION
