"""What commands print: tables of at most 80 columns, fields one below the other, JSON."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 80
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)")
_COLOURS = {"valid": "green", "invalid": "red", "error": "yellow", "connected": "green"}
_SHORT = {"incoming": "in", "outgoing": "out"}


@dataclass(frozen=True, slots=True)
class Column:
    """`whole`: never folded, for what is copied. `day`: of a time only the day. `count`: of a list
    only how many."""

    heading: str
    field: str
    whole: bool = False
    day: bool = False
    count: bool = False


def show_table(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a table, or that there is nothing."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column.heading, overflow="fold", no_wrap=column.whole)
    for row in rows:
        table.add_row(*(_shown(row.get(column.field), column) for column in columns))
    if table.row_count:
        _console().print(table)
    else:
        click.echo("nothing yet")


def show_fields(content: Mapping[str, Any]) -> None:
    """Print the fields that have a value, one on each line."""
    flat = [(name, value) for name, value in _flat(content) if value not in (None, [], "")]
    if not flat:
        click.echo("nothing has changed")
    width = max((len(name) for name, _ in flat), default=0)
    for name, value in flat:
        if isinstance(value, list) and isinstance(value[0], Mapping):
            click.echo(f"{name}:")
            columns = [Column(field.replace("_", " "), field) for field in _fields_of(value)]
            show_table(columns, value)
            continue
        label = f"{name.replace('_', ' '):{width}}  "
        many = isinstance(value, list) and len(_cell(value)) > WIDTH - len(label)
        for each in value if many else [value]:
            _show_field(label, _cell(each).plain, hanging=2 if many else 0)
            label = " " * len(label)


def _show_field(label: str, text: str, hanging: int) -> None:
    """Print one field, folded between words; a word without room beside the label goes below."""
    if any(len(word) > WIDTH - len(label) for word in text.split()):
        click.echo(label.rstrip())
        label = "  "
    folded = textwrap.fill(
        text,
        WIDTH,
        initial_indent=label,
        subsequent_indent=" " * (len(label) + hanging),
        break_long_words=False,
        break_on_hyphens=False,
    )
    click.echo(folded)


def show_text(label: str, text: str) -> None:
    """Print a sentence after its label, folded between words."""
    _show_field(f"{label}  ", text, hanging=0)


def show_json(content: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(content), indent=2))


def _console() -> Console:
    console = Console(highlight=False)
    return Console(highlight=False, width=WIDTH) if console.width > WIDTH else console


def _fields_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every field that any row has, in order."""
    return list(dict.fromkeys(field for row in rows for field in row))


def _flat(content: Mapping[str, Any]) -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in content.items():
        flat += value.items() if isinstance(value, Mapping) else [(name, value)]
    return flat


def _shown(value: Any, column: Column) -> Text:
    if column.count and isinstance(value, list):
        return Text(str(len(value) or "-"))
    if isinstance(value, list):  # one below the other: folded, they would break in the middle
        return Text("\n".join(str(each) for each in value) or "-")
    return _cell(value, day=column.day)


def _cell(value: Any, *, day: bool = False) -> Text:
    if value is None or value == "":
        return Text("-")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, list):
        return Text(", ".join(str(each) for each in value) or "-")
    text = _SHORT.get(str(value), str(value))
    time = _TIME.match(text)
    if time is not None:
        return Text(time[1] if day else f"{time[1]} {time[2]}")
    return Text(text, style=_COLOURS.get(text, ""))
