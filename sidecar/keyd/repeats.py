"""What was done with a repeat key, noted in the transaction of the action itself."""

from __future__ import annotations

import msgspec

from sidecar.keyd.secret_store import SecretStore
from sidecar.keys.messages import Changed, Refused

_REPEAT_MS = 86_400_000
_MAX_NOTED = 10_000


class Repeats:
    """By token and repeat key, for a day. `repeat` is the key, and a digest of the request."""

    def __init__(self, store: SecretStore) -> None:
        self._store = store

    def noted(
        self, token_id: str, repeat: tuple[str, bytes], now_ms: int
    ) -> Changed | Refused | None:
        """Return what was answered when this was done; None when it was not."""
        repeat_key, digest = repeat
        noted = self._store.database.execute(
            "SELECT request, reply FROM done WHERE token_id = ? AND repeat_key = ? AND at_ms > ?",
            (token_id, repeat_key, now_ms - _REPEAT_MS),
        ).fetchone()
        if noted is None:
            return None
        if noted[0] != digest:
            return Refused("repeat-key-reused")
        return msgspec.msgpack.decode(noted[1], type=Changed)

    def note(self, token_id: str, repeat: tuple[str, bytes], reply: Changed, now_ms: int) -> None:
        """Note the answer to the transaction under way. Raises sqlite3.Error."""
        repeat_key, digest = repeat
        database = self._store.database
        database.execute(
            "INSERT OR REPLACE INTO done VALUES (?, ?, ?, ?, ?)",
            (token_id, repeat_key, digest, msgspec.msgpack.encode(reply), now_ms),
        )
        database.execute(
            "DELETE FROM done WHERE at_ms <= ? OR rowid <= (SELECT MAX(rowid) - ? FROM done)",
            (now_ms - _REPEAT_MS, _MAX_NOTED),
        )
