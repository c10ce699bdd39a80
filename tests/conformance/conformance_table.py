"""docs/conformance.md, read: what each requirement's test is to find on each server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
COLUMNS = ("section", "requirement", "role", "test", "ours", "Prosody 0.12", "ejabberd 23.01")
NOT_TRIED = "—"
_STOCK = {"stock-prosody": "Prosody 0.12", "stock-ejabberd": "ejabberd 23.01"}


@dataclass(frozen=True)
class Row:
    """One requirement. `cells` are the text by column, as in the page."""

    cells: dict[str, str]

    @property
    def tests(self) -> list[str]:
        """`test_name` for one in this folder, `folder/test_file.py::test_name` for others."""
        return re.findall(r"`([^`]+)`", self.cells["test"])

    def expected(self, subject: str) -> str:
        """What the test finds on a server: `yes`, `no, ...`, or NOT_TRIED."""
        return self.cells[_STOCK.get(subject, "ours")]


def rows(page: str | None = None) -> list[Row]:
    """The rows of all tables that have our columns."""
    found = []
    columns: tuple[str, ...] = ()
    for line in (PAGE.read_text() if page is None else page).splitlines():
        cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
        if not line.startswith("|"):
            columns = ()
        elif not columns:
            columns = cells
        elif columns == COLUMNS and not set(line) <= set("|- "):
            found.append(Row(dict(zip(COLUMNS, cells, strict=True))))
    return found


def row_of(test: str) -> Row:
    """The row whose first test is this one of this folder."""
    (row,) = [row for row in rows() if row.tests[0] == test]
    return row
