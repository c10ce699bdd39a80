"""The log, the metrics and the history: neither their work nor their faults cost a handshake."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sidecar.daemon.observers import Observers
from sidecar.engine import Decision, Verified
from sidecar.jobs import ReportedOutcome, Role, Verdict, Verify
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId

PAIR = DomainPair(sender=Domain("capulet.example"), target=Domain("montague.example"))
STREAM = StreamId("S1")


class Observer:
    def __init__(self, *, fails: bool = False) -> None:
        self.told: list[Any] = []
        self._fails = fails

    def note(self, what: Any) -> None:
        self.told.append(what)
        if self._fails:
            raise RuntimeError("broken")

    note_decision = note_report = note_verified = note


async def test_observer_that_fails_is_logged_and_the_others_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    history, metrics = Observer(), Observer(fails=True)
    observers = Observers(history, metrics)  # type: ignore[arg-type]
    decision = Decision("verify", PAIR, STREAM, Verdict.valid(), 0.001)
    report = ReportedOutcome(
        role=Role.INITIATING, mechanism="dialback", pair=PAIR, stream=STREAM, type="valid"
    )
    observers.note_decision(decision)
    observers.note_report(report)
    verified = Verified(
        [Verify(pair=PAIR, stream=STREAM, key=DialbackKey("b483"))], [Verdict.valid()], 0.001
    )
    observers.note_verified(verified)
    assert history.told == []  # whoever asked is answered first
    await asyncio.sleep(0)
    assert history.told == metrics.told == [decision, report, verified]
    assert caplog.text.count("an observer failed") == 3
