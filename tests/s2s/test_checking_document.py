"""docs/checking.md says what is."""

from __future__ import annotations

import re
from pathlib import Path

from sidecar.s2s.probe.findings import Rule

TESTS = Path(__file__).parents[1]
DOCUMENT = (TESTS.parent / "docs" / "checking.md").read_text()


def test_every_rule_of_a_probe_is_in_the_document() -> None:
    rows = [f"| `{rule.id}` | {rule.severity.value} | {rule.advice} |" for rule in Rule]
    assert [line for line in DOCUMENT.splitlines() if line in rows] == rows


def test_every_test_that_the_document_names_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", DOCUMENT)
    assert len(named) > 100
    for path, name in named:
        text = (TESTS / path).read_text()
        assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{path}::{name}"
