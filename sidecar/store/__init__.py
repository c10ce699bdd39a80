"""The sidecar's own databases: the history of handshakes, and the rules about peers.

They hold no key and no secret.
"""

from sidecar.store.history import History
from sidecar.store.history_database import HistoryDatabase, StoredHandshake
from sidecar.store.peer_rules import PeerRules

__all__ = ["History", "HistoryDatabase", "PeerRules", "StoredHandshake"]
