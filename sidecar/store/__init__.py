"""The sidecar's own database: the history of handshakes. It holds no key and no secret."""

from sidecar.store.history import History
from sidecar.store.history_database import HistoryDatabase, StoredHandshake

__all__ = ["History", "HistoryDatabase", "StoredHandshake"]
