"""The parts of the benchmark that could silently measure something else."""

from __future__ import annotations

import os
import socket
import struct

import dns.message
import dns.rdatatype
import pytest

from bench import cpu, report
from bench.comparison import MEDIAN, RATE, Bound, Comparison, Line, ratios
from bench.dns import WildcardDns, Zone
from bench.quiet_sidecar import is_connected
from bench.run import Run
from bench.sample import Sample, repeat
from bench.verify import Counter
from bench.wire import Stream
from sidecar.lab.faults import LabError

ZONE = Zone("initiating.example", "127.64.1.2", 20001)


def _ask(name: str, rtype: str) -> dns.message.Message:
    server = WildcardDns("127.64.1.2", ZONE)
    response = server.response(dns.message.make_query(name, rtype).to_wire())
    assert response is not None
    return dns.message.from_wire(response)


def test_dns_sends_every_domain_of_a_zone_to_one_server() -> None:
    (srv,) = _ask("_xmpp-server._tcp.d17.initiating.example", "SRV").answer[0]
    assert (srv.port, srv.target.to_text()) == (20001, "host.initiating.example.")
    (address,) = _ask("host.initiating.example", "A").answer[0]
    assert address.address == "127.64.1.2"


@pytest.mark.parametrize(
    ("name", "rtype"),
    [
        ("_xmpps-server._tcp.d17.initiating.example", "SRV"),
        ("host.initiating.example", "AAAA"),
        ("elsewhere.example", "A"),
    ],
)
def test_dns_has_no_other_records(name: str, rtype: str) -> None:
    response = _ask(name, rtype)
    assert not response.answer
    assert all(record.rdtype == dns.rdatatype.SOA for record in response.authority)


@pytest.mark.parametrize(
    "query", [b"", b"\0" * 11, struct.pack(">6H", 1, 0, 1, 0, 0, 0) + b"\3abc"]
)
def test_dns_ignores_what_is_no_query(query: bytes) -> None:
    assert WildcardDns("127.64.1.2", ZONE).response(query) is None


@pytest.mark.parametrize("size", [1, 7, 10, 500])
def test_counter_finds_answers_however_the_bytes_are_cut(size: int) -> None:
    wire = b"<db:verify type='valid' id='1'>key</db:verify><db:verify id='2' type='invalid'/>" * 9
    answers, valid = Counter(b"<db:verify"), Counter(b"type='valid'")
    pieces = [wire[place : place + size] for place in range(0, len(wire), size)]
    assert sum(answers.count(piece) for piece in pieces) == 18
    assert sum(valid.count(piece) for piece in pieces) == 9


class _Transport:
    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def get_extra_info(self, name: str) -> None:
        return None


class _Recorder(Stream):
    def __init__(self) -> None:
        super().__init__(None)
        self.elements: list[tuple[bytes, dict[bytes, bytes], bytes]] = []

    def next_stream_id(self) -> bytes:
        return b"s1"

    def element(self, name: bytes, attributes: dict[bytes, bytes], text: bytes) -> None:
        self.elements.append((name, attributes, text))


@pytest.mark.parametrize("size", [1, 13, 1000])
def test_stream_reads_elements_however_the_bytes_are_cut(size: int) -> None:
    stream, transport = _Recorder(), _Transport()
    stream.connection_made(transport)  # type: ignore[arg-type]
    wire = (
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:server' from='a.example' "
        b"to=\"b.example\" version='1.0'><db:result from=\"a.example\" to='b.example'>key"
        b"</db:result> <message from='u@a.example'><body>x</body></message><db:verify id='7'/>"
    )
    for place in range(0, len(wire), size):
        stream.data_received(wire[place : place + size])
    assert b" from='b.example' to='a.example' id='s1'>" in transport.written
    assert [(name, text) for name, _, text in stream.elements] == [
        (b"db:result", b"key"),
        (b"message", b"<body>x</body>"),
        (b"db:verify", b""),
    ]
    assert stream.elements[0][1] == {b"from": b"a.example", b"to": b"b.example"}


def _sample(rate: float, **cpu_seconds: float) -> Sample:
    return Sample(
        done=100,
        failed=0,
        seconds=100 / rate,
        p50_seconds=0.001,
        p99_seconds=0.002,
        cpu_seconds=cpu_seconds,
    )


def test_ratio_is_taken_within_each_round() -> None:
    native = [_sample(1000), _sample(100), _sample(10)]
    ours = [_sample(500), _sample(50), _sample(20)]
    assert ratios(RATE, native, ours) == pytest.approx([0.5, 0.5, 2.0])


def test_table_names_every_process_and_what_failed() -> None:
    native, ours = _sample(10, server=0.1), _sample(5, server=0.1, sidecar=0.3)
    ours.failed = 3
    lines = list(report.table({"native": {"load": [native]}, "bolted-on": {"load": [ours]}}))
    assert lines[1] == "load, 3 FAILED"
    assert any("CPU of sidecar" in line and " - " in line and "3,000" in line for line in lines)
    (whole,) = (line for line in lines if "CPU of all" in line)
    assert whole.endswith("4.00")


def _comparison(line: Line, native: list[Sample], ours: list[Sample]) -> Comparison:
    return Comparison("ejabberd", "native", "ours", {"load": native}, {"load": ours}, [line])


@pytest.mark.parametrize(
    ("bound", "reached"),
    [
        (Bound(at_least=0.5), True),
        (Bound(at_least=0.6, goal=1), False),
        (Bound(at_most=0.5), True),
        (Bound(at_most=0.4), False),
    ],
)
def test_median_of_the_ratios_is_what_has_to_reach_a_bound(bound: Bound, reached: bool) -> None:
    native, ours = (
        [_sample(1000), _sample(100), _sample(10)],
        [_sample(500), _sample(1), _sample(9)],
    )
    comparison = _comparison(Line("load", RATE, bound), native, ours)
    assert report.reached([comparison]) == (int(reached), 1)
    verdict = "reached" if reached else "NOT REACHED"
    assert list(report.summary([comparison]))[-1].endswith(f"{bound}: {verdict}")


def test_bound_in_the_unit_of_the_measure_is_about_the_difference() -> None:
    line = Line("load", MEDIAN, Bound(more=1))
    slow = _sample(10)
    slow.p50_seconds = 0.0021  # native: 1 ms
    assert report.reached([_comparison(line, [_sample(10)], [slow])]) == (0, 1)
    assert report.reached([_comparison(line, [_sample(10)], [_sample(10)])]) == (1, 1)


def test_table_of_ratios_tells_what_failed() -> None:
    ours = _sample(5)
    ours.failed = 3
    lines = list(report.summary([_comparison(Line("load", RATE), [_sample(10)], [ours])]))
    assert lines[1:3] == ["ejabberd: ours beside native", "  3 FAILED"]
    assert lines[3].split()[-3:] == ["10.0", "5.00", "0.50"]


def test_no_round_begins_when_the_time_is_over() -> None:
    assert list(Run(rounds=3, seconds=60).each_round()) == [1, 2, 3]
    assert list(Run(rounds=3, seconds=0).each_round()) == [1]


async def test_repeat_counts_failures_apart_from_latencies() -> None:
    outcomes = iter([0.1, OSError, 0.3, TimeoutError, 0.2])

    async def once() -> float:
        outcome = next(outcomes)
        if isinstance(outcome, float):
            return outcome
        raise outcome

    sample = await repeat(once, count=5, at_once=2)
    assert (sample.done, sample.failed, sample.p50_seconds) == (3, 2, 0.2)


async def test_repeat_says_why_nothing_succeeded() -> None:
    async def once() -> float:
        raise ConnectionRefusedError("no one there")

    with pytest.raises(LabError, match=r"all 4 attempts failed.*no one there"):
        await repeat(once, count=4, at_once=2)


def test_cpu_time_of_this_process_grows_with_work() -> None:
    meter = cpu.Meter({"server": os.getpid()})
    before = meter.read()["server"]
    sum(number * number for number in range(300_000))
    assert meter.read()["server"] > before
    assert meter.foreign_share() >= 0


def test_a_core_is_never_less_busy_than_before() -> None:
    (core, *_) = os.sched_getaffinity(0)
    before = cpu.busy_seconds(core)
    assert cpu.busy_seconds(core) >= before > 0
    with pytest.raises(LookupError):
        cpu.busy_seconds(100_000)


def test_disturbance_weighs_each_run_by_its_time() -> None:
    calm, disturbed = _sample(10), _sample(100)  # 10 s and 1 s
    disturbed.foreign_share = 0.55
    results = {"native": {"load": [calm]}, "bolted-on": {"load": [disturbed]}}
    assert report.disturbance(results) == pytest.approx(0.05)


def test_dns_gives_a_server_that_wants_them_addresses_as_srv_targets() -> None:
    server = WildcardDns("127.64.1.2", ZONE, literal_targets=True)
    query = dns.message.make_query("_xmpp-server._tcp.d1.initiating.example", "SRV")
    (srv,) = dns.message.from_wire(server.response(query.to_wire()) or b"").answer[0]
    assert srv.target.to_text() == "127.64.1.2."


def test_connection_is_seen_in_the_table_of_the_kernel() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address, port = server.getsockname()
        assert not is_connected(address, port)
        with socket.create_connection((address, port)):
            assert is_connected(address, port)
