"""Records as people and programs read them: a table, JSON, NDJSON or CSV, written as they come.

In: record batches in columns of FLOW, or rows of plain values. Out: text. Addresses, MACs and octets become text; times stay
milliseconds for programs and become UTC for people. Refuses to know where the records come from.
"""

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Protocol, TextIO

import pyarrow as pa

from common.addresses import format_address
from flowpb.schema import BY_NAME

Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]
Row = Sequence[Value]
_GAP: Final = "  "
_INTERVALS: Final = ("clock_correction_ms",)
_TIMES: Final = {name for name, column in BY_NAME.items() if column.unit == "ms" and name not in _INTERVALS} | {"declared_ms"}


class Format(StrEnum):
    """How records are written."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


class RowWriter(Protocol):
    """Takes rows in any number of calls."""

    def write(self, rows: Iterable[Row]) -> None:
        """Write rows; each has one value per column."""

    def close(self) -> None:
        """End the document."""


def row_writer(form: Format, names: Sequence[str], out: TextIO) -> RowWriter:
    """A writer of rows under these column names."""
    makers: dict[Format, Callable[[], RowWriter]] = {
        Format.TABLE: lambda: _Table(names, out),
        Format.JSON: lambda: _Json(names, out),
        Format.NDJSON: lambda: _Ndjson(names, out),
        Format.CSV: lambda: _Csv(names, out),
    }
    return makers[form]()


def rows_of(flows: pa.RecordBatch, names: Sequence[str]) -> list[Row]:
    """The rows of a batch with these columns; a column that the batch leaves out is null."""
    empty = [None] * flows.num_rows
    present = set(flows.schema.names)
    columns = [_plain(name, flows.column(name)) if name in present else empty for name in names]
    return list(zip(*columns, strict=True))


def _plain(name: str, column: pa.Array) -> list[Value]:
    kind = BY_NAME[name].type
    if pa.types.is_dictionary(kind) and kind.value_type == pa.binary(16):
        names = [format_address(address) for address in column.dictionary.to_pylist()]
        return [None if code is None else names[code] for code in column.indices.to_pylist()]
    values = column.to_pylist()
    if kind == pa.binary(6):
        return [None if value is None else value.hex(":") for value in values]
    if kind == pa.binary():
        return [None if value is None else value.hex() for value in values]
    if name == "extras":
        return [None if value is None else [{**item, "value": item["value"].hex()} for item in value] for value in values]
    return list(values)


class _Table:
    """Columns as wide as their first rows need; later rows may push theirs."""

    def __init__(self, names: Sequence[str], out: TextIO) -> None:
        self._names = names
        self._out = out
        self._widths: list[int] = []

    def write(self, rows: Iterable[Row]) -> None:
        texts = [[_for_people(name, value) for name, value in zip(self._names, row, strict=True)] for row in rows]
        if not self._widths:
            self._widths = [max(len(text) for text in column) for column in zip(self._names, *texts, strict=True)]
            self._line(self._names)
        for line in texts:
            self._line(line)

    def close(self) -> None:
        self.write([]) if not self._widths else None

    def _line(self, texts: Sequence[str]) -> None:
        padded = _GAP.join(text.ljust(width) for text, width in zip(texts, self._widths, strict=True))
        self._out.write(padded.rstrip() + "\n")


def _for_people(name: str, value: Value) -> str:
    if value is None:
        return "-"
    if name in _TIMES and isinstance(value, int):
        return _as_time(value)
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def _as_time(value_ms: int) -> str:
    try:
        return datetime.fromtimestamp(value_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError, OSError):  # an exporter's clock may say anything
        return str(value_ms)


class _Json:
    def __init__(self, names: Sequence[str], out: TextIO) -> None:
        self._names = names
        self._out = out
        self._separator = "[\n"

    def write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._out.write(self._separator + _as_object(self._names, row))
            self._separator = ",\n"

    def close(self) -> None:
        self._out.write("[]\n" if self._separator == "[\n" else "\n]\n")


class _Ndjson:
    def __init__(self, names: Sequence[str], out: TextIO) -> None:
        self._names = names
        self._out = out

    def write(self, rows: Iterable[Row]) -> None:
        self._out.writelines(_as_object(self._names, row) + "\n" for row in rows)

    def close(self) -> None:
        """Every line is whole already."""


class _Csv:
    def __init__(self, names: Sequence[str], out: TextIO) -> None:
        self._writer = csv.writer(out, lineterminator="\n")
        self._writer.writerow(names)

    def write(self, rows: Iterable[Row]) -> None:
        self._writer.writerows([_for_csv(value) for value in row] for row in rows)

    def close(self) -> None:
        """Every line is whole already."""


def _as_object(names: Sequence[str], row: Row) -> str:
    return json.dumps({name: value for name, value in zip(names, row, strict=True) if value is not None}, ensure_ascii=False)


def _for_csv(value: Value) -> Value:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
