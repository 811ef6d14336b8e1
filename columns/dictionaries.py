"""Columns as numpy sees them: numbers, and for dictionary-encoded ones a place among the distinct values per flow.

In: columns of a batch. Out: numbers with a stand-in for null; places, one past the end for null; and back. Refuses to know what the
values are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from common.dictionaries import with_shared_joined
from flowpb.schema import TEXT


def integers(flows: pa.RecordBatch, name: str, null: int) -> NDArray[np.integer]:
    """A column as integers, with `null` for nulls and where it is absent."""
    if name not in flows.schema.names:
        return np.full(flows.num_rows, null, np.int32)
    column = flows.column(name)
    if column.null_count:
        column = pc.fill_null(column.cast(pa.int32()), null)
    values: NDArray[np.integer] = column.to_numpy(zero_copy_only=False)
    return values


def places(column: pa.DictionaryArray) -> NDArray[np.integer]:
    """Place of each value in the dictionary; `len(column.dictionary)` where it is null, also inside the dictionary."""
    indices, distinct = column.indices, column.dictionary
    if indices.null_count:
        indices = pc.fill_null(indices, len(distinct))
    found: NDArray[np.integer] = indices.to_numpy(zero_copy_only=False)
    if distinct.null_count:
        resolved = np.arange(len(distinct) + 1, dtype=np.int32)
        resolved[:-1][distinct.is_null().to_numpy(zero_copy_only=False)] = len(distinct)
        found = resolved[found]
    return found


def as_text(found: NDArray[np.int32], names: pa.StringArray) -> pa.DictionaryArray:
    """Column of `names[found]`, null where `found` is -1; its dictionary has the names in use, each once if `names` does."""
    used = np.zeros(len(names) + 1, np.bool_)
    used[found] = True
    place = np.cumsum(used[:-1], dtype=np.int32) - 1
    indices = pa.array(place[found] if len(place) else np.zeros(len(found), np.int32), mask=found < 0)
    return pa.DictionaryArray.from_arrays(indices, names.take(pa.array(np.flatnonzero(used[:-1])))).cast(TEXT)


def joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Batches of one schema as one, with one dictionary for each column that has some."""
    return joined_columns(pa.Table.from_batches(batches))


def joined_columns(table: pa.Table) -> pa.RecordBatch:
    """The one batch of a table of at least one row."""
    if any(_has_null(chunk) for column in table.columns if pa.types.is_dictionary(column.type) for chunk in column.chunks):
        table = pa.Table.from_arrays([_encoded_again(column) for column in table.columns], table.column_names)
    return with_shared_joined(table).combine_chunks().to_batches()[0]


def _has_null(chunk: Any) -> bool:
    return bool(chunk.dictionary.null_count)


def _encoded_again(column: Any) -> Any:
    """A dictionary column without nulls among its values, which Arrow cannot join: they become nulls of the column."""
    return column.cast(column.type.value_type).dictionary_encode() if pa.types.is_dictionary(column.type) else column
