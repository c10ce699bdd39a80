"""The loop of keyd: read from every client that wrote, decide once, commit once, reply to all.

What arrives while a batch is being decided and committed waits in the sockets and makes up the
next batch: the busier keyd is, the more requests share one commit.
"""

from __future__ import annotations

import logging
import selectors
import socket
from collections.abc import Callable, Iterable

from sidecar.errors import InvalidValue
from sidecar.keyd.connection import Connection
from sidecar.keyd.durable_ledger import DurableLedger
from sidecar.keyd.listener import peer_uid
from sidecar.keyd.request_table import Capability
from sidecar.keys.framing import BadFrame
from sidecar.keys.messages import Request

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
_TIDY_SECONDS = 5.0

_Asked = tuple[Connection, int, Request]


class Server:
    """Answers the clients of one listening socket."""

    def __init__(
        self,
        ledger: DurableLedger,
        listener: socket.socket,
        *,
        client_uids: frozenset[int],
        clock_ms: Callable[[], int],
        stop_when_readable: Iterable[int] = (),
    ) -> None:
        """`run` returns when one of the descriptors `stop_when_readable` has data or its end."""
        self._ledger = ledger
        self._client_uids = client_uids
        self._clock_ms = clock_ms
        self._running = True
        self._connections: set[Connection] = set()
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        for descriptor in stop_when_readable:
            self._selector.register(descriptor, selectors.EVENT_READ, self._stop)

    def run(self) -> None:
        """Serve until told to stop; requests that were read by then are answered."""
        while self._running:
            batch: list[_Asked] = []
            for key, events in self._selector.select(_TIDY_SECONDS):
                if not isinstance(key.data, Connection):
                    key.data(key.fileobj)
                elif events & selectors.EVENT_WRITE:
                    self._flush(key.data)
                else:
                    self._read(key.data, batch)
            if batch:
                self._answer(batch)
            self._ledger.tidy()
        for connection in list(self._connections):
            self._drop(connection)
        self._selector.close()

    def _read(self, connection: Connection, batch: list[_Asked]) -> None:
        try:
            requests = connection.read()
        except (BadFrame, InvalidValue) as error:
            log.error("a client lost its connection: %s", error)
            self._drop(connection)
        except OSError:
            self._drop(connection)
        else:
            if requests is None:
                self._drop(connection)
            else:
                batch += [(connection, message_id, request) for message_id, request in requests]

    def _answer(self, batch: list[_Asked]) -> None:
        replies = self._ledger.apply([request for _, _, request in batch], self._clock_ms())
        for (connection, message_id, _), reply in zip(batch, replies, strict=True):
            connection.reply(message_id, reply)
        for connection in {connection for connection, _, _ in batch} & self._connections:
            self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        """Send its replies. While some are left, the client is not read from."""
        try:
            blocked = not connection.flush()
        except OSError:
            self._drop(connection)
            return
        if blocked != connection.blocked:
            connection.blocked = blocked
            events = selectors.EVENT_WRITE if blocked else selectors.EVENT_READ
            self._selector.modify(connection.socket, events, connection)

    def _accept(self, listener: socket.socket) -> None:
        try:
            accepted, _ = listener.accept()
            uid = peer_uid(accepted)
        except OSError as error:
            log.warning("a client could not be accepted: %s", error)
            return
        if uid not in self._client_uids:
            log.error("uid %d may not use this socket", uid)
            accepted.close()
        elif len(self._connections) >= MAX_CONNECTIONS:
            log.error("more than %d clients", MAX_CONNECTIONS)
            accepted.close()
        else:
            accepted.setblocking(False)
            connection = Connection(accepted, frozenset({Capability.LEDGER}))
            self._connections.add(connection)
            self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _drop(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()

    def _stop(self, _: object) -> None:
        self._running = False
