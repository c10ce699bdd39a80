"""What two servers logged of the dialback between them, as one list of steps.

Both servers log every element they send or receive at debug level. A dialback element that only
one of them logged went to or came from the third party at the table, the sidecar, which
connects on its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from sidecar.lab.output import Line

Party = Literal["Prosody", "ejabberd", "sidecar"]
Element = Literal["stream", "failure", "db:result", "db:verify"]


@dataclass(frozen=True, slots=True)
class Step:
    """One element on the wire; `from_domain` and `to_domain` as its attributes say."""

    seconds: float
    speaker: Party
    listener: Party
    element: Element
    from_domain: str = ""
    to_domain: str = ""
    type: str = ""
    id: str = ""
    text: str = ""
    encrypted: bool = False

    @property
    def pair(self) -> tuple[str, str]:
        """Sender and target domain (XEP-0220 §1.2) of a dialback element."""
        written = (self.from_domain, self.to_domain)
        # A result request and a verify response carry the sender domain in `from`.
        return written if (self.element == "db:result") == (not self.type) else written[::-1]

    @property
    def is_dialback(self) -> bool:
        return self.element in ("db:result", "db:verify")

    def is_same(self, other: Step) -> bool:
        """Whether both tell of one element, seen from its two ends."""
        mine = (self.element, self.type, self.id, self.from_domain, self.to_domain)
        return mine == (other.element, other.type, other.id, other.from_domain, other.to_domain)


@dataclass(frozen=True)
class Connection:
    """The steps of one connection, as the server `logged_by` saw them."""

    logged_by: Party
    steps: tuple[Step, ...]

    @property
    def dialback(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.is_dialback)

    @property
    def opening(self) -> Step | None:
        """The last stream header of the side that opened it: the one inside TLS, if any."""
        headers = [step for step in self.steps if step.element == "stream"]
        return next((h for h in reversed(headers) if h.speaker == headers[0].speaker), None)

    def with_sidecar(self) -> Connection:
        """The same connection, the sidecar in the place of the other server."""
        party = self.logged_by
        return Connection(
            party,
            tuple(
                replace(step, listener="sidecar")
                if step.speaker == party
                else replace(step, speaker="sidecar")
                for step in self.steps
            ),
        )


def read_connections(prosody: Iterable[Line], ejabberd: Iterable[Line]) -> list[Connection]:
    """Return every connection that carried dialback, once each.

    One that both servers logged is taken from ejabberd's log, which has times of its own.
    """
    ours = list(_connections("Prosody", _read_prosody(prosody)))
    theirs = list(_connections("ejabberd", _read_ejabberd(ejabberd)))
    return [
        *(known if _is_among(known, ours) else known.with_sidecar() for known in theirs),
        *(known.with_sidecar() for known in ours if not _is_among(known, theirs)),
    ]


def _is_among(connection: Connection, others: list[Connection]) -> bool:
    """Whether the other server logged the same dialback elements."""
    known = [step for other in others for step in other.dialback]
    return any(step.is_same(other) for step in connection.dialback for other in known)


def _connections(party: Party, steps: Iterable[tuple[str, Step]]) -> Iterator[Connection]:
    by_name: dict[str, list[Step]] = {}
    for name, step in steps:
        by_name.setdefault(name, []).append(step)
    for found in by_name.values():
        connection = Connection(party, tuple(found))
        if connection.dialback:
            yield connection


_EJABBERD = re.compile(
    r"^(?P<time>\S+ \S+) \[\w+\] \((?P<layer>\w+)\|(?P<connection><[\d.]+>)\) "
    r"(?P<way>Received|Send) XML on stream = <<\"(?P<xml>.*)\">>"
)
_PROSODY = re.compile(
    r"^(?P<connection>s2s(?:in|out)\w+)\s+\w+\t"
    r"(?P<way>Received|Sending|Incoming s2s received|Stream encrypted)(?:\[[^]]*\]:)? (?P<xml>.*)"
)
_START = re.compile(r"(?:<\?xml[^>]*\?>)?\s*<([\w:]+)([^>]*)>")
_ATTRIBUTE = re.compile(r"""([\w:]+)=(?:'([^']*)'|"([^"]*)")""")
_TEXT = re.compile(r"<text[^>]*>([^<]*)")


def _read_ejabberd(lines: Iterable[Line]) -> Iterator[tuple[str, Step]]:
    for line in lines:
        if found := _EJABBERD.match(line.text):
            speaker: Party = "Prosody" if found["way"] == "Received" else "ejabberd"
            xml = found["xml"].replace('\\"', '"')
            if step := _step(xml, speaker, found["layer"] == "tls"):
                seconds = datetime.fromisoformat(found["time"]).timestamp()
                yield found["connection"], replace(step, seconds=seconds)


def _read_prosody(lines: Iterable[Line]) -> Iterator[tuple[str, Step]]:
    encrypted: set[str] = set()
    for line in lines:
        if found := _PROSODY.match(line.text):
            connection = found["connection"]
            if found["way"] == "Stream encrypted":
                encrypted.add(connection)
            speaker: Party = "Prosody" if found["way"] == "Sending" else "ejabberd"
            if step := _step(found["xml"], speaker, connection in encrypted):
                yield connection, replace(step, seconds=line.seconds)


def _step(xml: str, speaker: Party, encrypted: bool) -> Step | None:
    start = _START.match(xml)
    if start is None:
        return None
    attributes = {name: one or two for name, one, two in _ATTRIBUTE.findall(start[2])}
    element: Element
    match start[1], attributes.get("xmlns"):
        case ("stream:stream", namespace) if namespace != "jabber:client":
            element = "stream"
        case ("failure", _):
            element = "failure"
        case ("db:result", _) | ("result", "jabber:server:dialback"):
            element = "db:result"
        case ("db:verify", _) | ("verify", "jabber:server:dialback"):
            element = "db:verify"
        case _:
            return None
    text = _TEXT.search(xml)
    return Step(
        seconds=0.0,
        speaker=speaker,
        listener="ejabberd" if speaker == "Prosody" else "Prosody",
        element=element,
        from_domain=attributes.get("from", ""),
        to_domain=attributes.get("to", ""),
        type=attributes.get("type", ""),
        id=attributes.get("id", ""),
        text=text[1] if text else "",
        encrypted=encrypted,
    )
