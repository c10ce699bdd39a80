"""docs/checking.md says what is."""

from __future__ import annotations

from pathlib import Path

from sidecar.s2s.probe_findings import Rule

DOCUMENT = (Path(__file__).parents[2] / "docs" / "checking.md").read_text()


def test_every_rule_of_a_probe_is_in_the_document() -> None:
    rows = [f"| `{rule.id}` | {rule.severity.value} | {rule.advice} |" for rule in Rule]
    assert [line for line in DOCUMENT.splitlines() if line in rows] == rows
