from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sidecar.lab.demo.story import Handshake, read_decisions, tell
from sidecar.lab.demo.wire_log import read_connections
from sidecar.lab.output import Line

START = datetime(2026, 11, 20, 14, 0, 0, tzinfo=UTC)
CAPULET, MONTAGUE = "capulet.example", "montague.example"
HEADER = "<stream:stream xmlns='jabber:server' to='{to}' from='{sender}'>"


def ejabberd(ms: float, connection: int, way: str, xml: str, layer: str = "tls") -> Line:
    time = (START + timedelta(milliseconds=ms)).isoformat(" ", "microseconds")
    text = f'{time} [notice] ({layer}|<0.{connection}.0>) {way} XML on stream = <<"{xml}">>'
    return Line(START.timestamp() + ms / 1000 + 5, text)  # it reached us late: its own time counts


def prosody(ms: float, session: str, text: str) -> Line:
    return Line(START.timestamp() + ms / 1000, f"{session}   debug\t{text}")


def daemon(ms: int, text: str) -> Line:
    time = (START + timedelta(milliseconds=ms)).astimezone().replace(tzinfo=None)
    stamp = time.isoformat("T", "milliseconds")
    return Line(0.0, f"{stamp} dialback-sidecar INFO    {text}")


# Prosody asks ejabberd to accept capulet.example; ejabberd dials back.
OUTBOUND_EJABBERD = [
    ejabberd(0, 1, "Received", HEADER.format(sender=CAPULET, to=MONTAGUE), layer="tcp"),
    ejabberd(20, 1, "Received", HEADER.format(sender=CAPULET, to=MONTAGUE)),
    ejabberd(20.1, 1, "Send", HEADER.format(sender=MONTAGUE, to=CAPULET)),
    ejabberd(22, 1, "Send", "<failure xmlns='x'><text xml:lang='en'>self signed</text></failure>"),
    ejabberd(30, 1, "Received", f"<db:result to='{MONTAGUE}' from='{CAPULET}'>k</db:result>"),
    ejabberd(35, 2, "Send", HEADER.format(sender=MONTAGUE, to=CAPULET)),
    ejabberd(40, 2, "Send", f"<db:verify id='7' to='{CAPULET}' from='{MONTAGUE}'>k</db:verify>"),
    ejabberd(
        44.2, 2, "Received", f"<db:verify id='7' to='{MONTAGUE}' type='valid' from='{CAPULET}'/>"
    ),
    ejabberd(45, 1, "Send", f"<db:result type='valid' to='{CAPULET}' from='{MONTAGUE}'/>"),
]
OUTBOUND_PROSODY = [
    prosody(
        29, "s2sout1", f"Sending[s2sout_unauthed]: <db:result from='{CAPULET}' to='{MONTAGUE}'>"
    ),
    prosody(
        41,
        "s2sin2",
        "Received[s2sin_unauthed]: "
        f"<verify id='7' xmlns='jabber:server:dialback' to='{CAPULET}' from='{MONTAGUE}'>",
    ),
    prosody(
        44,
        "s2sin2",
        "Sending[s2sin_unauthed]: "
        f"<db:verify id='7' to='{MONTAGUE}' type='valid' from='{CAPULET}'>",
    ),
    prosody(
        46,
        "s2sout1",
        "Received[s2sout_unauthed]: <result xmlns='jabber:server:dialback' "
        f"to='{CAPULET}' type='valid' from='{MONTAGUE}'>",
    ),
]
OUTBOUND_DAEMON = [
    daemon(25, f"issue {CAPULET} -> {MONTAGUE} valid 4.8 ms"),
    daemon(44, f"verify {CAPULET} -> {MONTAGUE} valid 0.9 ms"),
]
# ejabberd asks Prosody to accept montague.example; the sidecar dials back, not Prosody.
INBOUND_EJABBERD = [
    ejabberd(100, 3, "Send", HEADER.format(sender=MONTAGUE, to=CAPULET)),
    ejabberd(110, 3, "Send", f"<db:result to='{CAPULET}' from='{MONTAGUE}'>k</db:result>"),
    ejabberd(120, 4, "Received", HEADER.format(sender=CAPULET, to=MONTAGUE)),
    ejabberd(
        121, 4, "Received", f"<db:verify from='{CAPULET}' to='{MONTAGUE}' id='9'>k</db:verify>"
    ),
    ejabberd(
        122.5, 4, "Send", f"<db:verify type='valid' id='9' to='{CAPULET}' from='{MONTAGUE}'/>"
    ),
    ejabberd(125, 3, "Received", f"<db:result to='{MONTAGUE}' type='valid' from='{CAPULET}'/>"),
]
INBOUND_PROSODY = [
    prosody(
        111,
        "s2sin3",
        "Received[s2sin_unauthed]: "
        f"<result xmlns='jabber:server:dialback' to='{CAPULET}' from='{MONTAGUE}'>",
    ),
    prosody(
        124, "s2sin3", f"Sending[s2sin]: <db:result to='{MONTAGUE}' type='valid' from='{CAPULET}'>"
    ),
]
INBOUND_DAEMON = [
    daemon(122, f"check {MONTAGUE} -> {CAPULET}: valid after 11 ms"),
    daemon(122, f"check {MONTAGUE} -> {CAPULET} valid (key) 12.0 ms"),
]


def handshake(
    pair: tuple[str, str],
    ejabberd_lines: list[Line] = OUTBOUND_EJABBERD + INBOUND_EJABBERD,
    prosody_lines: list[Line] = OUTBOUND_PROSODY + INBOUND_PROSODY,
    daemon_lines: list[Line] = OUTBOUND_DAEMON + INBOUND_DAEMON,
) -> Handshake:
    connections = read_connections(prosody_lines, ejabberd_lines)
    return tell(pair, connections, read_decisions(daemon_lines))


def shown(handshake: Handshake) -> list[tuple[str, str | None, str]]:
    return [(row.speaker, row.listener, row.what) for row in handshake.rows]


def test_outbound_handshake_is_told_in_the_order_of_cause_and_effect() -> None:
    assert shown(handshake((CAPULET, MONTAGUE))) == [
        ("Prosody", "ejabberd", "opens a stream, TLS"),
        ("ejabberd", "Prosody", "no SASL EXTERNAL: self signed"),
        ("sidecar", None, "issues the key, 4.8 ms"),
        ("Prosody", "ejabberd", "db:result  here is the key"),
        ("ejabberd", "Prosody", "opens a stream, TLS"),
        ("ejabberd", "Prosody", "db:verify  is this key yours?"),
        ("sidecar", None, "knows the key: valid, 0.9 ms"),
        ("Prosody", "ejabberd", "db:verify  valid"),
        ("ejabberd", "Prosody", "db:result  valid"),
    ]


def test_connection_only_ejabberd_knows_of_is_the_sidecars() -> None:
    assert shown(handshake((MONTAGUE, CAPULET))) == [
        ("ejabberd", "Prosody", "opens a stream, TLS"),
        ("ejabberd", "Prosody", "db:result  here is the key"),
        ("sidecar", "ejabberd", "opens a stream, TLS"),
        ("sidecar", "ejabberd", "db:verify  is this key yours?"),
        ("ejabberd", "sidecar", "db:verify  valid"),
        ("sidecar", None, "has checked: valid (key), 12.0 ms"),
        ("Prosody", "ejabberd", "db:result  valid"),
    ]


def test_connection_only_prosody_knows_of_is_the_sidecars() -> None:
    without_dialing_back = [line for line in OUTBOUND_EJABBERD if "<0.2.0>" not in line.text]
    told = shown(handshake((CAPULET, MONTAGUE), ejabberd_lines=without_dialing_back))
    assert ("sidecar", "Prosody", "db:verify  is this key yours?") in told
    assert ("Prosody", "sidecar", "db:verify  valid") in told


def test_handshake_as_it_should_be_has_no_problems() -> None:
    assert handshake((CAPULET, MONTAGUE)).problems(["issue", "verify"]) == []
    assert handshake((MONTAGUE, CAPULET)).problems(["check"]) == []


def altered(lines: list[Line], old: str, new: str) -> list[Line]:
    assert any(old in line.text for line in lines)
    return [Line(line.seconds, line.text.replace(old, new)) for line in lines]


@pytest.mark.parametrize(
    ("ejabberd_lines", "daemon_lines", "problem"),
    [
        (
            altered(OUTBOUND_EJABBERD, "result type='valid'", "result type='invalid'"),
            OUTBOUND_DAEMON,
            "expected one valid dialback result, got invalid",
        ),
        (OUTBOUND_EJABBERD[:-1], OUTBOUND_DAEMON, "expected one valid dialback result, got none"),
        (
            altered(OUTBOUND_EJABBERD, "(tls|<0.2.0>)", "(tcp|<0.2.0>)"),
            OUTBOUND_DAEMON,
            "expected dialback inside TLS, got some in clear",
        ),
        (OUTBOUND_EJABBERD, OUTBOUND_DAEMON[:1], "the sidecar was not asked to verify"),
        (
            OUTBOUND_EJABBERD,
            altered(OUTBOUND_DAEMON, "valid 0.9 ms", "error (internal-server-error, outage) 1 ms"),
            "verify answered by the sidecar: error (internal-server-error, outage)",
        ),
        (
            OUTBOUND_EJABBERD,
            [*OUTBOUND_DAEMON, daemon(45, f"check {CAPULET} -> {MONTAGUE} valid (key) 1.0 ms")],
            "check answered by the sidecar: valid (key)",
        ),
    ],
)
def test_every_departure_is_a_problem(
    ejabberd_lines: list[Line], daemon_lines: list[Line], problem: str
) -> None:
    prosody_lines = [line for line in OUTBOUND_PROSODY if "result" not in line.text] + [
        OUTBOUND_PROSODY[0]
    ]
    told = handshake((CAPULET, MONTAGUE), ejabberd_lines, prosody_lines, daemon_lines)
    assert told.problems(["issue", "verify"]) == [f"{CAPULET} -> {MONTAGUE}: {problem}"]
