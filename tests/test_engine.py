"""The four jobs, with a key service and a checker that do as told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from sidecar.engine import Decision, Engine
from sidecar.errors import KeyRefused, KeyServiceUnavailable, PolicyUnavailable
from sidecar.jobs import (
    Check,
    Condition,
    Evidence,
    Issue,
    Outcome,
    Report,
    ReportedOutcome,
    Role,
    Verdict,
    Verify,
)
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.peer_policy import Terms

PAIR = DomainPair(sender=Domain("capulet.example"), target=Domain("montague.example"))
STREAM = StreamId("D60000229F")
KEY = DialbackKey("b483")


@dataclass
class ScriptedParts:
    """A key service and a checker in one; answers `says`, or raises it."""

    says: DialbackKey | Verdict | Exception
    ended: list[tuple[DomainPair, StreamId]] = field(default_factory=list)
    asked: list[tuple[object, ...]] = field(default_factory=list)

    async def _say(self, *asked: object, timeout_seconds: float) -> object:
        self.asked.append(asked)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    issue = verify = check = _say

    async def end(self, ended: Sequence[tuple[DomainPair, StreamId]]) -> None:
        if isinstance(self.says, Exception):
            raise self.says
        self.ended += ended


@dataclass
class ScriptedPolicy:
    says: Terms | Exception = field(default_factory=Terms)
    peers: list[Domain] = field(default_factory=list)

    def terms_for(self, peer: Domain) -> Terms:
        self.peers.append(peer)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


def _engine(
    parts: ScriptedParts, policy: ScriptedPolicy | None = None
) -> tuple[Engine, list[Decision]]:
    decisions: list[Decision] = []
    ticks = iter(range(100))
    engine = Engine(
        parts,  # type: ignore[arg-type]
        parts,  # type: ignore[arg-type]
        policy or ScriptedPolicy(),
        clock=lambda: float(next(ticks)),
        on_decision=decisions.append,
    )
    return engine, decisions


JOBS = [
    Issue(pair=PAIR, stream=STREAM),
    Verify(pair=PAIR, stream=STREAM, key=KEY),
    Check(pair=PAIR, stream=STREAM, key=KEY),
]


async def test_issue_answers_the_key_and_tells_of_it_without_the_key() -> None:
    engine, decisions = _engine(ScriptedParts(KEY))
    assert await engine.answer(JOBS[0], timeout_seconds=3) is KEY
    assert str(decisions[0]) == "issue capulet.example -> montague.example valid 1000.0 ms"


@pytest.mark.parametrize("job", JOBS[1:], ids=lambda job: type(job).__name__)
@pytest.mark.parametrize(
    "verdict",
    [
        Verdict.valid(Evidence.KEY),
        Verdict.invalid("never-issued"),
        Verdict.error(Condition.REMOTE_SERVER_TIMEOUT, "no-answer"),
    ],
)
async def test_verdict_from_below_is_the_answer(job: Verify | Check, verdict: Verdict) -> None:
    engine, decisions = _engine(ScriptedParts(verdict))
    assert await engine.answer(job, timeout_seconds=3) == verdict
    assert decisions[0].verdict == verdict


@pytest.mark.parametrize("job", JOBS, ids=lambda job: type(job).__name__)
@pytest.mark.parametrize(
    "fault",
    [KeyServiceUnavailable("gone"), RuntimeError("a bug"), TimeoutError(), OSError(28, "x")],
)
async def test_outage_and_fault_are_an_error_never_invalid(
    job: Issue | Verify | Check, fault: Exception
) -> None:
    engine, _ = _engine(ScriptedParts(fault))
    answer = await engine.answer(job, timeout_seconds=3)
    assert isinstance(answer, Verdict)
    assert (answer.outcome, answer.condition) == (
        Outcome.ERROR,
        Condition.INTERNAL_SERVER_ERROR,
    )


async def test_a_cap_of_the_key_service_is_a_resource_constraint() -> None:
    engine, _ = _engine(ScriptedParts(KeyRefused("ledger-full", "the ledger is full")))
    answer = await engine.answer(JOBS[0], timeout_seconds=3)
    assert answer == Verdict.error(Condition.RESOURCE_CONSTRAINT, "ledger-full")


@pytest.mark.parametrize(
    ("role", "type_", "ends"),
    [
        (Role.INITIATING, "valid", True),
        (Role.INITIATING, "invalid", True),
        (Role.INITIATING, "closed", True),
        (Role.INITIATING, "error", False),
        (Role.RECEIVING, "valid", False),
        (Role.AUTHORITATIVE, "valid", False),
    ],
)
async def test_report_ends_the_ledger_entry_of_a_key_nobody_will_ask_about(
    role: Role, type_: str, ends: bool
) -> None:
    parts = ScriptedParts(KEY)
    engine, _ = _engine(parts)
    outcome = ReportedOutcome(role=role, mechanism="dialback", pair=PAIR, stream=STREAM, type=type_)
    assert await engine.answer(Report((outcome,)), timeout_seconds=3) is None
    assert parts.ended == ([(PAIR, STREAM)] if ends else [])


async def test_report_is_passed_on_as_it_came() -> None:
    heard: list[ReportedOutcome] = []
    parts = ScriptedParts(KEY)
    engine = Engine(
        parts,  # type: ignore[arg-type]
        parts,  # type: ignore[arg-type]
        ScriptedPolicy(),
        clock=lambda: 0.0,
        on_decision=lambda _: None,
        on_report=heard.append,
    )
    outcome = ReportedOutcome(
        role=Role.RECEIVING, mechanism="external", pair=PAIR, stream=STREAM, type="valid"
    )
    await engine.answer(Report((outcome,)), timeout_seconds=3)
    assert heard == [outcome]


async def test_report_survives_an_outage() -> None:
    engine, _ = _engine(ScriptedParts(KeyServiceUnavailable("gone")))
    outcome = ReportedOutcome(
        role=Role.INITIATING, mechanism="dialback", pair=PAIR, stream=STREAM, type="valid"
    )
    assert await engine.answer(Report((outcome,)), timeout_seconds=3) is None


def test_error_verdict_and_no_other_carries_a_condition() -> None:
    with pytest.raises(ValueError):
        Verdict(Outcome.ERROR)
    with pytest.raises(ValueError):
        Verdict(Outcome.VALID, condition=Condition.FORBIDDEN)


async def test_policy_is_asked_about_the_peer_in_both_directions_and_never_on_verify() -> None:
    policy = ScriptedPolicy()
    engine, _ = _engine(ScriptedParts(Verdict.valid()), policy)
    for job in JOBS:
        await engine.answer(job, timeout_seconds=3)
    assert policy.peers == [PAIR.target, PAIR.sender]


@pytest.mark.parametrize("job", [JOBS[0], JOBS[2]], ids=["issue", "check"])
async def test_what_policy_refuses_asks_nobody_and_says_which_rule(job: Issue | Check) -> None:
    parts = ScriptedParts(KEY)
    engine, decisions = _engine(parts, ScriptedPolicy(Terms(denied=True, rule="*.example")))
    answer = await engine.answer(job, timeout_seconds=3)
    assert answer == Verdict.error(Condition.POLICY_VIOLATION, "policy-denied")
    (step,) = decisions[0].verdict.steps
    assert (step.name, step.reason, step.detail) == ("policy", "policy-denied", "rule *.example")
    assert parts.asked == []


async def test_certificate_that_is_wanted_is_no_decision_and_without_it_there_is_no_key() -> None:
    parts = ScriptedParts(KEY)
    terms = Terms(pins=frozenset({"5e" * 32}), rule="*.example")
    engine, decisions = _engine(parts, ScriptedPolicy(terms))
    asked = Issue(pair=PAIR, stream=STREAM, encrypted=True, certificate_on_demand=True)
    wanted = Verdict.error(Condition.NOT_AUTHORIZED, "certificate-wanted")
    assert await engine.answer(asked, timeout_seconds=3) == wanted
    assert decisions == []
    again = replace(asked, certificate_on_demand=False)
    mismatch = Verdict.error(Condition.NOT_AUTHORIZED, "policy-pin-mismatch")
    assert await engine.answer(again, timeout_seconds=3) == mismatch
    assert [decision.verdict for decision in decisions] == [mismatch]
    assert parts.asked == []


@pytest.mark.parametrize("job", [JOBS[0], JOBS[2]], ids=["issue", "check"])
async def test_rules_that_cannot_be_read_are_an_outage_never_an_open_door(
    job: Issue | Check,
) -> None:
    parts = ScriptedParts(KEY)
    engine, _ = _engine(parts, ScriptedPolicy(PolicyUnavailable("a damaged file")))
    answer = await engine.answer(job, timeout_seconds=3)
    assert answer == Verdict.error(Condition.INTERNAL_SERVER_ERROR, "outage")
    assert parts.asked == []


async def test_checker_is_given_the_terms_and_its_trace_begins_with_the_rule() -> None:
    terms = Terms(frozenset({Evidence.KEY}), rule="*")
    parts = ScriptedParts(Verdict.valid(Evidence.KEY))
    engine, decisions = _engine(parts, ScriptedPolicy(terms))
    await engine.answer(JOBS[2], timeout_seconds=3)
    assert parts.asked == [(JOBS[2], terms)]
    assert [str(step) for step in decisions[0].verdict.steps] == ["policy 0.0 ms (rule *)"]


async def test_outage_in_a_flood_of_verify_requests_is_a_line_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    parts = ScriptedParts(KeyServiceUnavailable("not connected"))
    parts.verify_all = parts._say  # type: ignore[attr-defined]
    now = 0.0
    engine = Engine(
        parts,  # type: ignore[arg-type]
        parts,  # type: ignore[arg-type]
        ScriptedPolicy(),
        clock=lambda: now,
        on_decision=lambda _: None,
    )
    for _ in range(1_000):
        verdicts = await engine.verify_all([JOBS[1]] * 3, timeout_seconds=3)  # type: ignore[list-item]
        assert [verdict.outcome for verdict in verdicts] == [Outcome.ERROR] * 3
        now += 0.01
    lines = [record.message for record in caplog.records]
    assert 9 <= len(lines) <= 10
    assert lines[1] in ("300 verify requests: not connected", "303 verify requests: not connected")
