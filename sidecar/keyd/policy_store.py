"""Key policies of sender domains at rest, beside their secrets."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from sidecar.durations import Duration
from sidecar.keyd.secret_store import SecretStore
from sidecar.keyd.versions import NotDone
from sidecar.keys.domain_policy import OwnPolicy, Policies
from sidecar.keys.messages import KeyPolicy, PolicyField
from sidecar.preconditions import Precondition

log = logging.getLogger(__name__)


class PolicyStore:
    """Changes of policies: each is one transaction, then true in memory."""

    def __init__(self, store: SecretStore, policies: Policies) -> None:
        """Load what is stored into `policies`."""
        self._store = store
        self._policies = policies
        rows = store.database.execute("SELECT domain, rotate_ms, max_entries FROM policy")
        for domain, rotate_ms, max_entries in rows:
            policies.put(domain, OwnPolicy(rotate_ms=rotate_ms, max_entries=max_entries))

    def policy(self, domain: str) -> KeyPolicy:
        policies = self._policies
        own = policies.own(domain)
        return KeyPolicy(
            domain,
            policies.rotate_ms(domain),
            policies.max_entries(domain),
            own.rotate_ms is not None,
            own.max_entries is not None,
            policies.etag(domain),
        )

    def change(
        self, domain: str, changes: Mapping[PolicyField, int | None], precondition: Precondition
    ) -> KeyPolicy:
        """Set what `changes` names, None to the default. Raises NotDone, sqlite3.Error."""
        own = replace(self._policies.own(domain), **{str(name): changes[name] for name in changes})
        with self._store.transaction():
            if not precondition.holds(self._policies.etag(domain)):
                raise NotDone("precondition-failed")
            self._store.database.execute("DELETE FROM policy WHERE domain = ?", (domain,))
            if own != OwnPolicy():
                self._store.database.execute(
                    "INSERT INTO policy VALUES (?, ?, ?)", (domain, own.rotate_ms, own.max_entries)
                )
        self._policies.put(domain, own)
        policy = self.policy(domain)
        log.info("policy of %s: %s", domain, _in_words(policy))
        return policy


def _in_words(policy: KeyPolicy) -> str:
    rotate = f"secret rotates every {Duration(policy.rotate_ms)}"
    rotate += " (its own)" if policy.own_rotate else ""
    entries = f"at most {policy.max_entries} live keys"
    return f"{rotate}, {entries}" + (" (its own)" if policy.own_max_entries else "")
