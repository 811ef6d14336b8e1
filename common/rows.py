"""Rows on the terminal: a table for people, JSON, NDJSON or CSV for programs.

In: names of columns and rows of plain values. Out: text. Refuses to know what the rows are about.
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

Value = str | int | float | bool | None


class RowFormat(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


RowFormatOption = Annotated[RowFormat, typer.Option("--format", help="How to print the answer.")]


def render_rows(columns: Sequence[str], rows: Iterable[Sequence[Value]], form: RowFormat) -> str:
    """The rows as text that ends with a newline; a table without rows is its header."""
    if form is RowFormat.TABLE:
        return _table(columns, rows)
    if form is RowFormat.CSV:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(["" if value is None else value for value in row] for row in rows)
        return out.getvalue()
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    if form is RowFormat.JSON:
        return json.dumps(records, indent=2, ensure_ascii=False) + "\n"
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _table(columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    table = Table(box=None, pad_edge=False)
    listed = [list(row) for row in rows]
    for place, name in enumerate(columns):
        numeric = any(isinstance(row[place], int | float) for row in listed)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        table.add_row(*("-" if value is None else str(value) for value in row))
    console = Console(file=io.StringIO(), width=max(80, Console().width), highlight=False, markup=False)
    console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
