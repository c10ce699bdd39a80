"""The ledger's rules: which key is issued, and what a presented key is worth.

presented key                          answer
right, first time, in its lifetime     valid; the key is used
right, again within `repeat_ms`        valid: peers ask again when a connection drops
right, again later                     invalid: a replay
right, past its lifetime               invalid
right, after its stream was decided    invalid
issued under a version since revoked   invalid
right, but never issued                invalid and an alarm: a secret has leaked
    ... soon after an unclean start    error: forgotten is not never-issued
right under a stateless version        valid: another node issued it; counted
anything else                          invalid; it uses nothing up
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hmac import compare_digest

from sidecar.keys.dialback_key import key_message
from sidecar.keys.entry import (
    ENDED,
    ISSUED,
    USED,
    ended,
    entry_digest,
    fresh,
    is_ended,
    issued_of,
    record,
    used,
    used_of,
    version_of,
    zone_tag,
)
from sidecar.keys.keyring import Keyring
from sidecar.keys.limits import Limits
from sidecar.keys.messages import (
    Done,
    EndKey,
    Failed,
    IssueKey,
    Judged,
    JudgeKey,
    KeyIssued,
    LedgerRequest,
    Refused,
    Reply,
    VerifyKey,
)
from sidecar.keys.segments import NO_OWN_CAPS, Segments
from sidecar.names import Domain

VALID = Judged("valid")
WRONG = Judged("invalid", "key-wrong")
EXPIRED = Judged("invalid", "key-expired")
REPLAYED = Judged("invalid", "key-replayed")
ALREADY_ENDED = Judged("invalid", "key-ended")
NEVER_ISSUED = Judged("invalid", "key-never-issued")
REVOKED = Judged("invalid", "version-revoked")
STATELESS = Judged("valid", "stateless")
FORGOTTEN = Judged("error", "key-forgotten")
NO_SECRET = Failed("no-secret")
DONE = Done()


class Ledger:
    """The keys issued and not yet forgotten.

    `apply` changes the state and returns with the answers the records of what it changed.
    The caller writes these to the journal and then says `keep`, or `undo` if it could not.
    Until then the answers must not be sent.
    """

    def __init__(
        self, keyring: Keyring, limits: Limits, own_max_entries: Mapping[str, int] = NO_OWN_CAPS
    ) -> None:
        """`own_max_entries` are caps of sender domains that have one of their own."""
        self._keyring = keyring
        self._limits = limits
        self.forgetful_until_ms = 0
        """Until then a key that is unknown may be one that we lost in an unclean stop."""
        self._segments = Segments(limits, own_max_entries)
        self._needed_until_ms: dict[int, int] = {}
        self.keep = self._segments.keep
        self.undo = self._segments.undo

    def apply(self, batch: Sequence[LedgerRequest], now_ms: int) -> tuple[list[Reply], bytes]:
        """Answer requests in order. `now_ms` never runs backwards from call to call."""
        self._segments.advance(now_ms)
        records: list[bytes] = []
        replies: list[Reply] = []
        for request in batch:
            match request:
                case IssueKey():
                    replies.append(self._issue(request, now_ms, records))
                case VerifyKey():
                    replies.append(self._verify(request, now_ms, records))
                case EndKey():
                    replies.append(self._end(request, now_ms, records))
        return replies, b"".join(records)

    def judge(self, request: JudgeKey, now_ms: int) -> Judged:
        """Return what `apply` would say of a key now, and change nothing."""
        self._segments.advance(now_ms)
        return self._verify(request, now_ms, None)

    @property
    def kept_from_ms(self) -> int:
        """Records older than this are not needed any more."""
        return self._segments.kept_from_ms

    def needed_until_ms(self, version_id: int) -> int:
        """When the last key issued under this version expires.

        While something may have been forgotten, that is one lifetime after the start at least.
        """
        return max(self._needed_until_ms.get(version_id, 0), self.forgetful_until_ms)

    def forget_version(self, version_id: int) -> None:
        """The version is gone; it is needed no more."""
        self._needed_until_ms.pop(version_id, None)

    @property
    def live_count(self) -> int:
        return self._segments.count

    def _issue(self, request: IssueKey, now_ms: int, records: list[bytes]) -> Reply:
        message = key_message(request.sender, request.target, request.stream)
        digest = entry_digest(message)
        zone = zone_tag(request.target)
        segment = self._segments.find(digest)
        version = None
        if segment is not None:
            entry = segment.entries[digest]
            if now_ms < segment.start_ms + issued_of(entry) + self._limits.lifetime_ms:
                version = self._keyring.get(version_of(entry))
        if version is None:
            version = self._keyring.active(request.sender)
            if version is None:
                return NO_SECRET
            if segment is None:
                cap = self._segments.full_for(request.sender, zone)
                if cap is not None:
                    return Refused(cap)
        self._put(digest, version.id, request.sender, zone, now_ms)
        records.append(record.pack(digest, ISSUED, version.id, zone, now_ms))
        version.count_use(now_ms)
        return KeyIssued(version.maker.key(message))

    def _verify(
        self, request: VerifyKey | JudgeKey, now_ms: int, records: list[bytes] | None
    ) -> Judged:
        """Without `records` for it nothing is used up."""
        message = key_message(request.sender, request.target, request.stream)
        digest = entry_digest(message)
        key = request.key.encode()
        segment = self._segments.find(digest)
        if segment is None:
            return self._judge_unknown(request, message, digest, now_ms, records)
        entry = segment.entries[digest]
        version = self._keyring.get(version_of(entry))
        if version is None or not compare_digest(version.maker.key(message).encode(), key):
            other = self._judge_stateless(request, now_ms, records)
            return other or (WRONG if version is not None else REVOKED)
        age_ms = now_ms - segment.start_ms
        if age_ms >= issued_of(entry) + self._limits.lifetime_ms:
            return EXPIRED
        if is_ended(entry):
            return ALREADY_ENDED
        first_ms = used_of(entry)
        if first_ms is None:
            if records is None:
                return VALID
            self._segments.replace(segment, digest, used(entry, age_ms))
            records.append(record.pack(digest, USED, 0, 0, now_ms))
            return VALID
        return VALID if age_ms - first_ms <= self._limits.repeat_ms else REPLAYED

    def _judge_unknown(
        self,
        request: VerifyKey | JudgeKey,
        message: bytes,
        digest: bytes,
        now_ms: int,
        records: list[bytes] | None,
    ) -> Judged:
        stateless = self._judge_stateless(request, now_ms, records)
        if stateless is not None:
            return stateless
        key = request.key.encode()
        ours = [each for each in self._keyring.of(request.sender) if each.facts.kind == "ledger"]
        if not any(compare_digest(each.maker.key(message).encode(), key) for each in ours):
            return WRONG
        if self._segments.remembers(digest):
            return EXPIRED
        return FORGOTTEN if now_ms < self.forgetful_until_ms else NEVER_ISSUED

    def _judge_stateless(
        self, request: VerifyKey | JudgeKey, now_ms: int, records: list[bytes] | None
    ) -> Judged | None:
        """Recompute a key that another node may have issued under a secret we imported.

        That node hashes the domains as it has them: U-labels or A-labels.
        """
        key = request.key.encode()
        for version in self._keyring.of(request.sender):
            if version.facts.ends_ms is not None and now_ms < version.facts.ends_ms:
                for message in messages_of_any_spelling(request):
                    if compare_digest(version.maker.key(message).encode(), key):
                        if records is not None:
                            version.count_use(now_ms)
                        return STATELESS
        return None

    def _end(self, request: EndKey, now_ms: int, records: list[bytes]) -> Done:
        digest = entry_digest(key_message(request.sender, request.target, request.stream))
        if self._mark_ended(digest):
            records.append(record.pack(digest, ENDED, 0, 0, now_ms))
        return DONE

    def _put(self, digest: bytes, version_id: int, sender: str, zone: int, now_ms: int) -> None:
        """Write a fresh entry into the segment of `now_ms`, out of any older one."""
        self._needed_until_ms[version_id] = now_ms + self._limits.lifetime_ms
        current = self._segments.live[0]
        entry = fresh(version_id, now_ms - current.start_ms)
        segment = self._segments.find(digest)
        if segment is current:
            self._segments.replace(current, digest, entry)
            return
        if segment is not None:
            self._segments.remove(segment, digest, sender, zone)
        self._segments.add(current, digest, entry, sender, zone)

    def _mark_ended(self, digest: bytes) -> bool:
        segment = self._segments.find(digest)
        if segment is None:
            return False
        entry = segment.entries[digest]
        if is_ended(entry):
            return False
        self._segments.replace(segment, digest, ended(entry))
        return True

    def replay(self, records: bytes) -> None:
        """Take in what a journal holds, oldest first. Secrets that are gone take their keys along.

        Raises struct.error when `records` are cut short.
        """
        for digest, kind, version_id, zone, at_ms in record.iter_unpack(records):
            self._segments.advance(at_ms)
            if kind == ISSUED:
                version = self._keyring.get(version_id)
                if version is not None:
                    self._put(digest, version_id, version.facts.domain, zone, at_ms)
            elif kind == USED:
                segment = self._segments.find(digest)
                if segment is not None:
                    entry = used(segment.entries[digest], at_ms - segment.start_ms)
                    self._segments.replace(segment, digest, entry)
            elif kind == ENDED:
                self._mark_ended(digest)
        self._segments.keep()


def messages_of_any_spelling(request: VerifyKey | JudgeKey) -> set[bytes]:
    """Return the messages with each domain as U-label and as A-label."""
    senders = {request.sender, Domain(request.sender).a_label}
    targets = {request.target, Domain(request.target).a_label}
    return {key_message(sender, target, request.stream) for sender in senders for target in targets}
