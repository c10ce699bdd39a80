"""The table of docs/conformance.md names tests that exist, and each test here has its row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from conformance_table import COLUMNS, NOT_TRIED, Row, rows

_HERE = Path(__file__).parent
ROWS = rows()
KEYWORD = re.compile(r"(MUST|SHOULD|SHALL|RECOMMENDED|shall)\b")
FINDING = re.compile(r"yes|yes, .+|no, .+|no errors, .+")


def names_of_tests(path: Path) -> set[str]:
    """The names of the test functions of a file."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = ast.parse(path.read_text()).body
    return {n.name for n in nodes if isinstance(n, functions) and n.name.startswith("test_")}


HERE = {name: path for path in _HERE.glob("test_*.py") for name in names_of_tests(path)}
LOOKING = {name for name, path in HERE.items() if "find(" in path.read_text()} - set(
    names_of_tests(Path(__file__))
)
"""The tests that look at servers and have a row of their own."""


def test_page_has_rows() -> None:
    assert len(ROWS) > 40


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.cells["requirement"])
def test_row_names_tests_that_exist(row: Row) -> None:
    assert row.tests
    for test in row.tests:
        file, _, name = test.rpartition("::")
        known = names_of_tests(_HERE.parent / file) if file else HERE
        assert name in known, test


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.cells["requirement"])
def test_row_is_complete(row: Row) -> None:
    assert KEYWORD.match(row.cells["requirement"])
    assert all(row.cells[column] for column in COLUMNS)
    for subject in ("prosody", "ejabberd", "stock-prosody", "stock-ejabberd"):
        expected = row.expected(subject)
        assert expected == NOT_TRIED or FINDING.fullmatch(expected), expected


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.cells["requirement"])
def test_what_a_row_says_of_stock_servers_was_seen(row: Row) -> None:
    seen = row.tests[0] in LOOKING
    for subject in ("stock-prosody", "stock-ejabberd"):
        assert seen or row.expected(subject) == NOT_TRIED


@pytest.mark.parametrize("test", sorted(LOOKING))
def test_each_test_here_has_a_row_of_its_own(test: str) -> None:
    assert [row.tests[0] for row in ROWS].count(test) == 1
