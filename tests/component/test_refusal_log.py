"""What is refused is told, and strangers cannot fill the log."""

from __future__ import annotations

import pytest

from sidecar.component.admission import Refused, Why
from sidecar.component.refusal_log import RefusalLog
from sidecar.names import Domain
from sidecar.protocol.link_replies import ReplyAddress

JID = Domain.parse("dialback.capulet.example")


def _refused(why: Why, asker: str = "mallory@evil.example", told: str = "") -> Refused:
    return Refused(why, ReplyAddress("1", asker, JID), told)


def test_one_line_per_reason_and_interval_with_the_number_of_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 1000.0
    refusals = RefusalLog(str(JID), lambda: now, interval_seconds=60)
    for _ in range(100):
        refusals.note(_refused(Why.STRANGER))
    refusals.note(_refused(Why.WRONG_MAC))
    now += 60
    refusals.note(_refused(Why.STRANGER))
    refusals.note(_refused(Why.WRONG_MAC))
    head = f"link {JID}: refused a stanza from 'mallory@evil.example', "
    assert caplog.messages == [
        head + "from an address that is no domain of this link",
        head + "its MAC is missing or wrong",
        head + "from an address that is no domain of this link (99 more since the last such line)",
        head + "its MAC is missing or wrong",
    ]


def test_malformed_request_is_told_with_its_field(caplog: pytest.LogCaptureFixture) -> None:
    refusals = RefusalLog(str(JID), lambda: 0.0)
    refusals.note(_refused(Why.MALFORMED, "capulet.example", "stream: expected ..."))
    assert caplog.messages[0].endswith("a malformed request: stream: expected ...")


def test_address_of_a_stranger_cannot_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    RefusalLog(str(JID), lambda: 0.0).note(_refused(Why.STRANGER, "a\nlink x: connected" * 9))
    assert "\n" not in caplog.text.strip()
    assert len(caplog.messages[0]) < 200
