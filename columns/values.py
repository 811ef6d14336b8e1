"""Columns of any type to codes of their values: what kinds besides the fixed ones rank.

In: a batch and the columns of a kind. Out: the distinct values in order, numbers as numbers and everything else as text, and the
code of each row (0 for null). Refuses to know what they mean; flowpb.schema says which may be ranked.
"""

from typing import Any, Final

import numpy as np
import pyarrow as pa

from columns.arrays import Ints
from columns.distinct import distinct_numbers, distinct_texts
from columns.names import ValueNames
from columns.packing import Numbers
from common.addresses import format_address
from flowpb.groupings import Values

_NUMBERS: Final = (pa.uint8(), pa.uint16(), pa.uint32())


def values_of(batch: pa.RecordBatch, kind: Values) -> tuple[ValueNames, tuple[Numbers, ...]]:
    """One dictionary for the kind's columns, and the codes of each, in the least unsigned type that holds them."""
    columns = [_encoded(batch, name) for name in kind.columns]
    known = [column for column in columns if column is not None]
    values, tables = _dictionary(known)
    dtype = np.uint16 if len(values) < 1 << 16 else np.uint32
    table = iter(tables)
    codes = tuple(
        np.zeros(batch.num_rows, dtype) if column is None else _codes(column, next(table).astype(dtype)) for column in columns
    )
    return ValueNames(kind.key, len(columns), values), codes


def _encoded(batch: pa.RecordBatch, name: str) -> Any:
    """The column with a dictionary; None where it is missing or all null."""
    index = batch.schema.get_field_index(name)
    column = None if index < 0 else batch.column(index)
    if column is None or column.null_count == len(column):
        return None
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


def _codes(column: Any, table: Numbers) -> Numbers:
    """Entry -1 of the table is the one after the last: that of nulls."""
    codes: Numbers = np.take(table, (column.indices.fill_null(-1) if column.null_count else column.indices).to_numpy(), mode="wrap")
    return codes


def _dictionary(columns: list[Any]) -> tuple[Ints | tuple[str, ...], list[Ints]]:
    """Distinct values of all dictionaries, and per column the code of each entry of its own, with that of null after them."""
    if not columns:
        return np.empty(0, np.int64), []
    if columns[0].dictionary.type in _NUMBERS:
        numbers = [column.dictionary.to_numpy().astype(np.int64) for column in columns]
        distinct, codes = distinct_numbers(np.concatenate(numbers))
        ends = np.cumsum([len(each) for each in numbers])
        return distinct, [np.append(each, 0) for each in np.split(codes + 1, ends[:-1])]
    named = [[_text(value) for value in column.dictionary.to_pylist()] for column in columns]
    texts = distinct_texts(text for values in named for text in values)
    code: dict[str | None, int] = {text: number for number, text in enumerate(texts, 1)}
    return texts, [np.array([*(code.get(text, 0) for text in values), 0]) for values in named]


def _text(value: str | bytes | None) -> str | None:
    if isinstance(value, bytes):
        return format_address(value) if len(value) == 16 else value.hex(":")
    return value
