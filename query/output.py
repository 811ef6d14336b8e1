"""Rows for people and for programs: table, JSON, CSV, NDJSON.

In: a Sheet, rows of named values with the way to show each to people. Out: text on standard output. Refuses to know questions and
stores. Programs get exact numbers; people get rounded ones with units.
"""

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import typer

Value = str | int | float | bool | None | list[str]


class Format(StrEnum):
    """Values of --format."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    NDJSON = "ndjson"


@dataclass(frozen=True, slots=True)
class Shown:
    """One column of a table for people."""

    title: str
    cells: Sequence[str]
    right: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """`rows` and what is true of all of them (`about`) for programs; `table`, `caption` and `notes` for people."""

    rows: Sequence[Mapping[str, Value]]
    columns: Sequence[str]
    table: Sequence[Shown]
    about: Mapping[str, object] = field(default_factory=dict)
    caption: str = ""
    notes: Sequence[str] = ()


_WIDE: Final = 400
_BYTE_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_COUNT_UNITS: Final = ("", "k", "M", "G", "T", "P", "E")


def write(sheet: Sheet, form: Format) -> None:
    """The sheet on standard output, its notes for people on standard error."""
    for note in sheet.notes:
        typer.echo(f"note: {note}", err=True)
    if form is Format.TABLE:
        _write_table(sheet)
    elif form is Format.CSV:
        typer.echo(_as_csv(sheet), nl=False)
    elif form is Format.NDJSON:
        for row in sheet.rows:
            typer.echo(json.dumps({name: row[name] for name in sheet.columns}, ensure_ascii=False))
    else:
        typer.echo(json.dumps({**sheet.about, "rows": list(sheet.rows)}, indent=2, ensure_ascii=False))


def show_bytes(octets: int) -> str:
    """Three digits and a unit of 1000."""
    return _scaled(octets, _BYTE_UNITS, " ")


def show_rate(octets: int, span_ms: int) -> str:
    """Bits a second over a span."""
    return _scaled(octets * 8000 // max(span_ms, 1), _COUNT_UNITS, " ") + "bit/s"


def show_count(count: int) -> str:
    """A whole number, from 100,000 on three digits and a unit of 1000."""
    return f"{count:,}" if abs(count) < 100_000 else _scaled(count, _COUNT_UNITS, "")


def show_share(part: int, whole: int) -> str:
    """A part of a whole in percent."""
    return f"{100 * part / whole:.1f} %" if whole else ""


def _scaled(value: int, units: Sequence[str], gap: str) -> str:
    size, place = float(value), 0
    while abs(size) >= 999.5 and place < len(units) - 1:
        size, place = size / 1000, place + 1
    digits = 0 if place == 0 or abs(size) >= 99.95 else 1 if abs(size) >= 9.995 else 2
    return f"{size:.{digits}f}{gap}{units[place]}"


def _as_csv(sheet: Sheet) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(sheet.columns)
    for row in sheet.rows:
        writer.writerow([_csv_cell(row[name]) for name in sheet.columns])
    return text.getvalue()


def _csv_cell(value: Value) -> Value:
    return " ".join(value) if isinstance(value, list) else value


def _write_table(sheet: Sheet) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, title_justify="left", caption_justify="left")
    for shown in sheet.table:
        table.add_column(shown.title, justify="right" if shown.right else "left", overflow="fold")
    for cells in zip(*(shown.cells for shown in sheet.table), strict=True):
        table.add_row(*map(Text, cells))
    console = Console(file=sys.stdout, width=_WIDE)  # a terminal wraps a line better than a table breaks addresses
    with console.capture() as text:
        console.print(table)
    lines = [sheet.caption, *(line.rstrip() for line in text.get().splitlines() if line.strip())]
    typer.echo("\n".join(filter(None, lines)))
