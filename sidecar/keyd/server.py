"""The loop of keyd: read from every client that wrote, decide once, commit once, reply to all.

What arrives while a batch is being decided and committed waits in the sockets and makes up the
next batch: the busier keyd is, the more requests share one commit.
"""

from __future__ import annotations

import logging
import selectors
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from sidecar.errors import InvalidValue
from sidecar.keyd.connection import Connection
from sidecar.keyd.key_service import KeyService
from sidecar.keyd.listener import peer_uid
from sidecar.keyd.request_table import Capability, NotPermitted
from sidecar.keys.framing import BadFrame
from sidecar.keys.messages import EndKey, IssueKey, LedgerRequest, VerifyKey

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
"""At one entrance; so nobody on the other takes an operator's place."""

_TEND_SECONDS = 0.25

_Asked = tuple[Connection, int, LedgerRequest]


@dataclass(frozen=True)
class Entrance:
    """A listening socket, who may come in there, and what they may ask."""

    listener: socket.socket
    client_uids: frozenset[int]
    granted: frozenset[Capability]


class Server:
    """Answers the clients of every entrance."""

    def __init__(
        self,
        service: KeyService,
        entrances: Iterable[Entrance],
        *,
        stop_when_readable: Iterable[int] = (),
    ) -> None:
        """`run` returns when a descriptor of `stop_when_readable` has data or its end."""
        self._service = service
        self._running = True
        self._connections: dict[Connection, Entrance] = {}
        self._asking: set[Connection] = set()
        """Those whose `questions` are not all answered."""
        self._selector = selectors.DefaultSelector()
        for entrance in entrances:
            self._selector.register(entrance.listener, selectors.EVENT_READ, entrance)
        for descriptor in stop_when_readable:
            self._selector.register(descriptor, selectors.EVENT_READ, None)

    def run(self) -> None:
        """Serve until told to stop; requests for keys that were read by then are answered."""
        while self._running:
            batch: list[_Asked] = []
            for key, events in self._selector.select(0 if self._answerable() else _TEND_SECONDS):
                if isinstance(key.data, Connection):
                    if events & selectors.EVENT_WRITE:
                        self._flush(key.data)
                    elif key.data not in self._asking:
                        self._read(key.data, batch)
                elif isinstance(key.data, Entrance):
                    self._accept(key.data)
                else:
                    self._running = False
            if batch:
                self._answer(batch)
            for connection in self._answerable():
                self._answer_operator(connection)
            self._service.tend()
        for connection in list(self._connections):
            self._drop(connection)
        self._selector.close()

    def _read(self, connection: Connection, batch: list[_Asked]) -> None:
        try:
            requests = connection.read()
        except (BadFrame, NotPermitted, InvalidValue) as error:
            log.error("a client lost its connection: %s", error)
            self._drop(connection)
        except OSError:
            self._drop(connection)
        else:
            if requests is None:
                self._drop(connection)
                return
            for message_id, request in requests:
                if isinstance(request, IssueKey | VerifyKey | EndKey):
                    batch.append((connection, message_id, request))
                else:
                    connection.questions.append((message_id, request))
                    self._asking.add(connection)

    def _answer(self, batch: list[_Asked]) -> None:
        """Decide the whole batch, then reply."""
        replies = self._service.apply([request for _, _, request in batch])
        for (connection, message_id, _), reply in zip(batch, replies, strict=True):
            connection.reply(message_id, reply)
        for connection in {asked[0] for asked in batch} & self._connections.keys():
            self._flush(connection)

    def _answerable(self) -> list[Connection]:
        return [connection for connection in self._asking if not connection.blocked]

    def _answer_operator(self, connection: Connection) -> None:
        """Answer one question, whose answer may be long; the next one after keys of others.

        Until all are answered the client is not read from.
        """
        message_id, question = connection.questions.popleft()
        if not connection.questions:
            self._asking.discard(connection)
        connection.reply(message_id, self._service.administer(question))
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

    def _accept(self, entrance: Entrance) -> None:
        try:
            accepted, _ = entrance.listener.accept()
            uid = peer_uid(accepted)
        except OSError as error:
            log.warning("a client could not be accepted: %s", error)
            return
        if uid not in entrance.client_uids:
            log.error("uid %d may not use this socket", uid)
            accepted.close()
        elif list(self._connections.values()).count(entrance) >= MAX_CONNECTIONS:
            log.error("more than %d clients", MAX_CONNECTIONS)
            accepted.close()
        else:
            accepted.setblocking(False)
            connection = Connection(accepted, entrance.granted)
            self._connections[connection] = entrance
            self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _drop(self, connection: Connection) -> None:
        del self._connections[connection]
        self._asking.discard(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()
