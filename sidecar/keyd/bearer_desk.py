"""What bearers of API tokens ask: the token is checked here, whatever the front process says.

An action with a repeat key is noted in its own transaction, so that asking twice does it once,
also when keyd was killed in between.
"""

from __future__ import annotations

import hmac
import logging
import sqlite3
from collections.abc import Callable
from math import inf

import msgspec

from sidecar.keyd.repeats import Repeats
from sidecar.keyd.secret_store import SecretStore
from sidecar.keyd.token_store import TokenStore
from sidecar.keyd.versions import NotDone, Versions
from sidecar.keys.messages import (
    AdminRequest,
    AsBearer,
    BearerRequest,
    Changed,
    ChangePolicy,
    CreateToken,
    Denied,
    Done,
    DryRun,
    Failed,
    GetPolicies,
    GetStatus,
    ImportSecret,
    JudgeKey,
    ListTokens,
    ListVersions,
    Refused,
    Reply,
    RevokeSecret,
    RevokeToken,
    RotateSecret,
    SecretAction,
    TokenFacts,
    TokenList,
    TokenMade,
    TokenRequest,
    WhoBears,
)
from sidecar.keys.scopes import Scope, allows

log = logging.getLogger(__name__)

SCOPES: dict[type[BearerRequest], Scope] = {
    ListVersions: Scope.SECRETS_READ,
    GetPolicies: Scope.SECRETS_READ,
    JudgeKey: Scope.KEYS_VERIFY,
    GetStatus: Scope.STATUS_READ,
    ChangePolicy: Scope.DOMAINS_WRITE,
    RotateSecret: Scope.SECRETS_WRITE,
    RevokeSecret: Scope.SECRETS_WRITE,
    ImportSecret: Scope.SECRETS_WRITE,
    CreateToken: Scope.TOKENS_WRITE,
    ListTokens: Scope.TOKENS_WRITE,
    RevokeToken: Scope.TOKENS_WRITE,
}
"""Default-deny: what is not here, no token opens."""

_READS = ListVersions | GetPolicies | JudgeKey | GetStatus | ListTokens
_MAX_NAMED = 100


class _Undo(Exception):
    """Undoes the transaction at its very end."""


class BearerDesk:
    """Answers one request at a time; `administer` answers what is not about tokens."""

    def __init__(
        self,
        store: SecretStore,
        tokens: TokenStore,
        versions: Versions,
        administer: Callable[[AdminRequest, int], Reply],
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._versions = versions
        self._administer = administer
        self._repeats = Repeats(store)

    def answer(self, request: TokenRequest | DryRun | AsBearer | WhoBears, now_ms: int) -> Reply:
        try:
            if isinstance(request, WhoBears):
                return self._who(request.token, now_ms)
            if isinstance(request, AsBearer):
                return self._as_bearer(request, now_ms)
            if isinstance(request, DryRun):
                return self._try(request.request, now_ms)
            return self._about_tokens(request, now_ms)
        except NotDone as error:
            return Refused(error.reason)
        except sqlite3.Error as error:
            log.error("%s: %s", type(request).__name__, error)
            return Failed("store-failed")

    def _who(self, token: str, now_ms: int) -> TokenFacts | Denied:
        bearer = self._tokens.who(token, now_ms)
        if bearer is None:
            return Denied("token-unknown")
        return bearer.facts if bearer.reason is None else Denied(bearer.reason)

    def _as_bearer(self, asked: AsBearer, now_ms: int) -> Reply:
        bearer = self._who(asked.token, now_ms)
        if isinstance(bearer, Denied):
            return bearer
        request = asked.request
        reason = self._why_not(bearer, request, now_ms)
        if reason is not None:
            return Denied(reason)
        level = logging.DEBUG if isinstance(request, _READS) else logging.INFO
        log.log(level, "%s by token %s (%s)", type(request).__name__, bearer.id, bearer.name)
        if isinstance(request, SecretAction):
            if asked.dry_run:
                return self._try(request, now_ms)
            if asked.repeat_key is None:
                return self._administer(request, now_ms)
            # Keyed, for an imported secret could be guessed from a plain hash of its request.
            digest = hmac.digest(asked.token.encode(), msgspec.msgpack.encode(request), "sha256")
            return self._once(bearer, request, (asked.repeat_key, digest), now_ms)
        if asked.dry_run and not isinstance(request, _READS):
            return Refused("no-dry-run")
        if isinstance(request, CreateToken) and asked.repeat_key is not None:
            digest = hmac.digest(asked.token.encode(), msgspec.msgpack.encode(request), "sha256")
            return self._create_once(bearer, request, (asked.repeat_key, digest), now_ms)
        if isinstance(request, TokenRequest):
            return self._about_tokens(request, now_ms)
        return self._administer(request, now_ms)

    def _why_not(self, bearer: TokenFacts, request: BearerRequest, now_ms: int) -> str | None:
        needed = SCOPES.get(type(request))
        if needed is None or not allows(bearer.scopes, needed):
            return "scope-missing"
        if isinstance(request, CreateToken):
            mine = set(bearer.scopes)
            wanted = set(request.scopes)
            if Scope.ADMIN.value in wanted or not (wanted <= mine or Scope.ADMIN.value in mine):
                return "scope-not-yours"
            if not _within(request.domains, bearer.domains):
                return "domain-not-permitted"
            if bearer.expires_ms is not None and _expires_ms(request, now_ms) > bearer.expires_ms:
                return "expiry-not-yours"
        elif isinstance(request, RevokeToken):
            other = self._tokens.facts(request.id)
            if other is not None and not _may_revoke(bearer, other):
                return "scope-not-yours"
        elif not _within(_about(request), bearer.domains):
            return "domain-not-permitted"
        return None

    def _about_tokens(self, request: TokenRequest, now_ms: int) -> Reply:
        match request:
            case CreateToken():
                token, facts = self._tokens.create(request, now_ms)
                log.info("made token %s (%s)", facts.id, facts.name)
                return TokenMade(token, facts)
            case RevokeToken(id):
                self._tokens.revoke(id, now_ms)
                log.info("revoked token %s", id)
                return Done()
            case ListTokens():
                return TokenList(self._tokens.list())

    def _once(
        self,
        bearer: TokenFacts,
        request: SecretAction,
        repeat: tuple[str, bytes],
        now_ms: int,
    ) -> Reply:
        noted = self._repeats.noted(bearer.id, repeat, now_ms)
        if noted is not None:
            return noted

        def note() -> None:
            self._repeats.note(bearer.id, repeat, self._changed_by(request), now_ms)

        self._store.before_commit = note
        try:
            return self._administer(request, now_ms)
        finally:
            self._store.before_commit = None

    def _create_once(
        self, bearer: TokenFacts, request: CreateToken, repeat: tuple[str, bytes], now_ms: int
    ) -> Reply:
        """The token itself is not kept, so that it cannot be told again."""
        noted = self._repeats.noted(bearer.id, repeat, now_ms)
        if noted is not None:
            return noted if isinstance(noted, Refused) else Refused("told-once")
        self._tokens.forget_old(now_ms)  # a transaction of its own

        def note() -> None:
            self._repeats.note(bearer.id, repeat, Changed(0, []), now_ms)

        self._store.before_commit = note
        try:
            return self._about_tokens(request, now_ms)
        finally:
            self._store.before_commit = None

    def _try(self, request: SecretAction, now_ms: int) -> Reply:
        """Return what would change, and change nothing."""
        if isinstance(request, RevokeSecret):
            return self._would_revoke(request)

        def undo() -> None:
            raise _Undo

        self._store.before_commit = undo
        try:
            return self._administer(request, now_ms)
        except _Undo:
            return self._changed_by(request)
        finally:
            self._store.before_commit = None

    def _changed_by(self, request: SecretAction) -> Changed:
        """The answer to `request`, from what its transaction did."""
        added, destroyed = self._store.added, self._store.destroyed
        if isinstance(request, RevokeSecret):
            successor = added[0][1] if added else None
            return Changed(len(destroyed), destroyed[:_MAX_NAMED], successor)
        after = None
        if isinstance(request, RotateSecret) and request.domain is None:
            after = self._versions.next_after(request.after)
        return Changed(len(added), added[:_MAX_NAMED], None, after)

    def _would_revoke(self, request: RevokeSecret) -> Reply:
        """A revoked version is gone from memory before anything else: nothing to undo here."""
        active = self._versions.keyring.active(request.domain)
        doomed = self._versions.to_revoke(request.domain, request.number)
        changed = [(request.domain, version.facts.number) for version in doomed]
        successor = None
        if active in doomed:
            successor = 1 + max(each.number for each in self._store.facts_of(request.domain))
        return Changed(len(changed), changed, successor)


def _about(request: BearerRequest) -> list[str] | None:
    """The sender domains that a request is about; None: all."""
    match request:
        case GetPolicies(domains):
            return domains
        case (
            ListVersions(domain=str(domain))
            | RotateSecret(domain=str(domain))
            | RevokeSecret(domain)
            | ImportSecret(domain)
            | ChangePolicy(domain)
            | JudgeKey(domain)
        ):
            return [domain]
    return None


def _within(domains: list[str] | None, permitted: list[str] | None) -> bool:
    """Whether `domains` (None: all) are among those permitted (None: all)."""
    if permitted is None:
        return True
    return domains is not None and set(domains) <= set(permitted)


def _expires_ms(request: CreateToken, now_ms: int) -> float:
    return inf if request.seconds is None else now_ms + request.seconds * 1000


def _may_revoke(bearer: TokenFacts, other: TokenFacts) -> bool:
    """Nobody ends a token that opens more than their own."""
    if Scope.ADMIN.value not in bearer.scopes and not set(other.scopes) <= set(bearer.scopes):
        return False
    return _within(other.domains, bearer.domains)
