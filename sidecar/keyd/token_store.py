"""API tokens at rest: hashed, beside the secrets. A token has 256 random bits, so a hash is enough.

The last use of a token is noted in memory and saved now and then.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from sidecar.keyd.secret_store import SecretStore
from sidecar.keyd.versions import NotDone
from sidecar.keys.messages import CreateToken, TokenFacts
from sidecar.keys.scopes import Scope

PREFIX = "dbs_"
MAX_TOKENS = 1000
_REVOKED_KEPT_MS = 30 * 86_400_000


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token that is known; `reason` is why it opens nothing, None if it does."""

    facts: TokenFacts
    reason: str | None


class TokenStore:
    """All tokens, in memory by hash. Its methods raise sqlite3.Error, and then did nothing."""

    def __init__(self, store: SecretStore) -> None:
        self._store = store
        self._tokens: dict[bytes, _Token] = {}
        self._unsaved: set[bytes] = set()
        rows = store.database.execute(
            "SELECT digest, id, name, scopes, domains, created_ms, expires_ms, revoked_ms,"
            " last_use_ms FROM token"
        )
        for digest, id_, name, scopes, domains, *times in rows:
            restricted = None if domains is None else tuple(json.loads(domains))
            self._tokens[digest] = _Token(id_, name, tuple(scopes.split()), restricted, *times)

    def create_first(self, path: Path, now_ms: int) -> None:
        """When there is no token at all, make an administrator's and write it to a private file."""
        if self._tokens:
            return
        token = _new_token()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, 0o600)
            file.write(token + "\n")
            file.flush()
            os.fsync(descriptor)
        request = CreateToken("first administrator", [Scope.ADMIN.value])
        self._add(token, request, now_ms)

    def create(self, request: CreateToken, now_ms: int) -> tuple[str, TokenFacts]:
        """Return a new token and what is known of it. Raises NotDone."""
        self.forget_old(now_ms)
        if len(self._tokens) >= MAX_TOKENS:
            raise NotDone("too-many-tokens")
        token = _new_token()
        return token, self._add(token, request, now_ms)

    def list(self) -> list[TokenFacts]:
        return [
            token.facts() for token in sorted(self._tokens.values(), key=lambda t: t.created_ms)
        ]

    def revoke(self, id_: str, now_ms: int) -> None:
        """Raises NotDone when there is no such token that is not revoked."""
        for digest, token in self._tokens.items():
            if token.id == id_ and token.revoked_ms is None:
                with self._store.transaction():
                    self._store.database.execute(
                        "UPDATE token SET revoked_ms = ? WHERE id = ?", (now_ms, id_)
                    )
                self._tokens[digest] = replace(token, revoked_ms=now_ms)
                return
        raise NotDone("no-such-token")

    def facts(self, id_: str) -> TokenFacts | None:
        """Return what is known of the token with this id."""
        return next((each.facts() for each in self._tokens.values() if each.id == id_), None)

    def who(self, token: str, now_ms: int) -> Bearer | None:
        """Return what a token is; None when there is no such token. Notes its use."""
        digest = _digest(token)
        known = self._tokens.get(digest)
        if known is None:
            return None
        reason = None
        if known.revoked_ms is not None:
            reason = "token-revoked"
        elif known.expires_ms is not None and now_ms >= known.expires_ms:
            reason = "token-expired"
        else:
            known = self._tokens[digest] = replace(known, last_use_ms=now_ms)
            self._unsaved.add(digest)
        return Bearer(known.facts(), reason)

    def save_uses(self) -> None:
        """Note last uses since the last time."""
        if self._unsaved:
            with self._store.transaction():
                self._store.database.executemany(
                    "UPDATE token SET last_use_ms = ? WHERE digest = ?",
                    [(self._tokens[digest].last_use_ms, digest) for digest in self._unsaved],
                )
            self._unsaved.clear()

    def _add(self, token: str, request: CreateToken, now_ms: int) -> TokenFacts:
        made = _Token(
            id=secrets.token_hex(6),
            name=request.name,
            scopes=tuple(sorted(set(request.scopes))),
            domains=None if request.domains is None else tuple(sorted(set(request.domains))),
            created_ms=now_ms,
            expires_ms=None if request.seconds is None else now_ms + request.seconds * 1000,
            revoked_ms=None,
            last_use_ms=None,
        )
        domains = None if made.domains is None else json.dumps(made.domains)
        digest, scopes = _digest(token), " ".join(made.scopes)
        with self._store.transaction():
            self._store.database.execute(
                "INSERT INTO token VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
                (made.id, digest, made.name, scopes, domains, now_ms, made.expires_ms),
            )
        self._tokens[digest] = made
        return made.facts()

    def forget_old(self, now_ms: int) -> None:
        """Forget tokens that ended a month ago."""
        gone = [
            digest
            for digest, token in self._tokens.items()
            if (token.revoked_ms or token.expires_ms or now_ms) < now_ms - _REVOKED_KEPT_MS
        ]
        if gone:
            with self._store.transaction():
                self._store.database.executemany(
                    "DELETE FROM token WHERE digest = ?", [(digest,) for digest in gone]
                )
            for digest in gone:
                del self._tokens[digest]
                self._unsaved.discard(digest)


@dataclass(frozen=True, slots=True)
class _Token:
    id: str
    name: str
    scopes: tuple[str, ...]
    domains: tuple[str, ...] | None
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None
    last_use_ms: int | None

    def facts(self) -> TokenFacts:
        return TokenFacts(
            self.id,
            self.name,
            list(self.scopes),
            None if self.domains is None else list(self.domains),
            self.created_ms,
            self.expires_ms,
            self.revoked_ms,
            self.last_use_ms,
        )


def _new_token() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
