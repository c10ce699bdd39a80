"""One line for each handshake, for humans or as JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from sidecar import logs
from sidecar.decision_log import DecisionLog
from sidecar.engine import Decision, Verified
from sidecar.jobs import Condition, Evidence, Verdict, Verify
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId

PAIR = DomainPair(sender=Domain("capulet.example"), target=Domain("montague.example"))


@pytest.fixture(autouse=True)
def _root_logger_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def _decision(job: str, verdict: Verdict) -> Decision:
    return Decision(job, PAIR, StreamId("D60000229F"), verdict, 0.0042)


def _log(decision: Decision) -> None:
    DecisionLog(lambda: 0.0).note_decision(decision)


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_one_line_at_info_stands_for_an_outgoing_handshake(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("info", "dialback-sidecar")
    _log(_decision("issue", Verdict.valid()))
    _log(_decision("verify", Verdict.valid()))
    (line,) = _lines(capsys)
    assert line.endswith("INFO    verify capulet.example -> montague.example valid 4.2 ms")


def test_key_that_was_not_issued_is_told_at_info(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "dialback-sidecar")
    refusal = Verdict.error(Condition.RESOURCE_CONSTRAINT, "cap-target-zone")
    _log(_decision("issue", refusal))
    (line,) = _lines(capsys)
    assert "error (resource-constraint, cap-target-zone)" in line


def test_outage_of_ours_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", "dialback-sidecar")
    _log(_decision("verify", Verdict.error(Condition.INTERNAL_SERVER_ERROR, "outage")))
    _log(_decision("verify", Verdict.invalid("key-wrong")))
    (line,) = _lines(capsys)
    assert "WARNING verify" in line


def test_flood_of_requests_in_vain_gets_few_lines_and_hides_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("info", "dialback-sidecar")
    seconds = [1000.0]
    lines = DecisionLog(lambda: seconds[0])
    asked = [Verify(pair=PAIR, stream=StreamId("S1"), key=DialbackKey("b483"))] * 3_000
    lines.note_verified(Verified(asked, [Verdict.invalid("key-wrong")] * 3_000, 0.001))
    for _ in range(3_000):
        lines.note_decision(_decision("check", Verdict.invalid("key-invalid")))
    lines.note_decision(_decision("verify", Verdict.valid()))
    said = _lines(capsys)
    assert len(said) == 101
    assert "valid 4.2 ms" in said[-1]
    seconds[0] += 1.0
    lines.note_decision(_decision("check", Verdict.invalid("key-invalid")))
    told, line = _lines(capsys)
    assert told.endswith("5900 more requests in vain have no line of their own")
    assert "invalid" in line


def test_json_line_holds_the_decision_as_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "dialback-sidecar", "json")
    _log(_decision("check", Verdict.valid(Evidence.KEY)))
    (line,) = [json.loads(line) for line in _lines(capsys)]
    assert line.pop("time").endswith("Z")
    assert line == {
        "program": "dialback-sidecar",
        "level": "info",
        "message": "check capulet.example -> montague.example valid (key) 4.2 ms",
        "job": "check",
        "sender": "capulet.example",
        "target": "montague.example",
        "stream": "D60000229F",
        "outcome": "valid",
        "evidence": "key",
        "milliseconds": 4.2,
    }


def test_json_line_stays_one_line_with_an_exception(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "dialback-sidecar", "json")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("sidecar").exception("failed\nbadly")
    (line,) = [json.loads(line) for line in _lines(capsys)]
    assert line["message"] == "failed\nbadly"
    assert "ValueError: two\nlines" in line["exception"]
