"""From the logs of both servers and of the daemon to the steps of one handshake."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sidecar.lab.demo.wire_log import Connection, Party, Step
from sidecar.lab.output import Line

# A line of the daemon's: time, program, level, then the decision as the engine words it.
_DECISION = re.compile(
    r"^(?P<time>\S+) dialback-sidecar \w+\s+(?P<job>issue|verify|check) "
    r"(?P<sender>\S+) -> (?P<target>[^\s:]+) "
    r"(?P<said>(?:valid|invalid|error)\b.*?) (?P<ms>[\d.]+) ms(?:: .*)?$"
)


@dataclass(frozen=True, slots=True)
class Decision:
    """One job the daemon says it answered; `said` is `valid`, `valid (key)`, `error (...)`."""

    seconds: float
    job: str
    pair: tuple[str, str]
    said: str
    milliseconds: float

    @property
    def is_valid(self) -> bool:
        return self.said.split(" ")[0] == "valid"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the story. `decided_by_sidecar` marks the sidecar's decisions."""

    seconds: float
    speaker: Party
    listener: Party | None
    what: str
    decided_by_sidecar: bool = False


@dataclass(frozen=True)
class Handshake:
    """Everything that belongs to one domain pair: sender and target domain."""

    pair: tuple[str, str]
    rows: Sequence[Row]
    decisions: Sequence[Decision]
    results: Sequence[Step]
    """The `db:result` elements with a type, as they were on the wire."""
    encrypted: bool
    """Whether every dialback element of it was inside TLS."""

    def decision(self, job: str) -> Decision | None:
        return next((one for one in self.decisions if one.job == job), None)

    @property
    def is_verified(self) -> bool:
        return [result.type for result in self.results] == ["valid"]

    def problems(self, jobs: Iterable[str]) -> list[str]:
        """What is not as it should be, when the sidecar was to answer just these `jobs`."""
        name = " -> ".join(self.pair)
        found = []
        if not self.is_verified:
            got = ", ".join(result.type for result in self.results) or "none"
            found.append(f"{name}: expected one valid dialback result, got {got}")
        if not self.encrypted:
            found.append(f"{name}: expected dialback inside TLS, got some in clear")
        answered = {decision.job: decision for decision in self.decisions}
        for job in (*jobs, *(set(answered) - set(jobs))):
            decision = answered.get(job)
            if decision is None:
                found.append(f"{name}: the sidecar was not asked to {job}")
            elif job not in jobs or not decision.is_valid:
                found.append(f"{name}: {job} answered by the sidecar: {decision.said}")
        return found


def read_decisions(daemon: Iterable[Line]) -> list[Decision]:
    """Return the jobs the daemon answered, with its own times (local, cut to the millisecond)."""
    return [
        Decision(
            datetime.fromisoformat(found["time"]).timestamp(),
            found["job"],
            (found["sender"], found["target"]),
            found["said"],
            float(found["ms"]),
        )
        for line in daemon
        if (found := _DECISION.match(line.text))
    ]


def tell(
    pair: tuple[str, str], connections: Iterable[Connection], decisions: Iterable[Decision]
) -> Handshake:
    """Return the handshake of `pair` out of all that happened."""
    own = [decision for decision in decisions if decision.pair == pair]
    rows: list[Row] = []
    steps: list[Step] = []
    for connection in connections:
        if not any(step.pair == pair for step in connection.dialback):
            continue
        steps += [step for step in connection.dialback if step.pair == pair]
        shown = [connection.opening, *(s for s in connection.steps if s.element == "failure")]
        rows += [_row(step) for step in shown if step is not None]
    rows += [_row(step) for step in steps]
    rows += [
        Row(_when(decision, steps), "sidecar", None, _decided(decision), decided_by_sidecar=True)
        for decision in own
    ]
    rows.sort(key=lambda row: row.seconds)
    return Handshake(
        pair,
        rows,
        own,
        [step for step in steps if step.element == "db:result" and step.type],
        all(step.encrypted for step in steps),
    )


def _row(step: Step) -> Row:
    match step.element, step.type:
        case "stream", _:
            what = "opens a stream, TLS" if step.encrypted else "opens a stream"
        case "failure", _:
            what = f"no SASL EXTERNAL: {step.text or 'refused'}"
        case "db:result", "":
            what = "db:result  here is the key"
        case "db:verify", "":
            what = "db:verify  is this key yours?"
        case element, type_:
            what = f"{element}  {type_}"
    return Row(step.seconds, step.speaker, step.listener, what)


def _when(decision: Decision, steps: Iterable[Step]) -> float:
    """The end of the millisecond the daemon wrote, but before what went out because of it."""
    element = "db:verify" if decision.job == "verify" else "db:result"
    led_to = [
        step.seconds
        for step in steps
        if (step.element, step.type == "") == (element, decision.job == "issue")
        and step.seconds >= decision.seconds
    ]
    return min([decision.seconds + 0.000_999, *(seconds - 1e-6 for seconds in led_to[:1])])


def _decided(decision: Decision) -> str:
    verb = {"issue": "issues the key", "verify": "knows the key:", "check": "has checked:"}
    said = verb[decision.job]
    if decision.job != "issue" or not decision.is_valid:
        said = f"{said} {decision.said}"
    return f"{said}, {decision.milliseconds:.1f} ms"
