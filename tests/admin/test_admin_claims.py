"""docs/admin.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CLAIMS = (TESTS.parent / "docs" / "admin.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", CLAIMS)))


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_named_test_exists(file: str, test: str) -> None:
    text = (TESTS / file).read_text()
    assert f"def {test or 'test_'}" in text


def test_every_row_names_one() -> None:
    rows = [line for line in CLAIMS.splitlines() if line.startswith("| ")]
    claims = [row for row in rows if not row.startswith("| promise")]
    assert len(claims) > 40
    assert [row for row in claims if "test_" not in row and "bench" not in row] == []
