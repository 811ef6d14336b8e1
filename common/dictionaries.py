"""Chunks of columns that share a dictionary, as slices of one batch do.

In: a table of many chunks. Out: the same in fewer. Arrow reads through the whole dictionary of every chunk when it joins them,
though it be the same; so chunks of one dictionary are joined before by their indices. Refuses to know what the columns are.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa


def with_shared_joined(table: pa.Table) -> pa.Table:
    """The table with neighbouring chunks joined that share a dictionary."""
    return pa.Table.from_arrays([_joined(column) for column in table.columns], table.column_names)


def _joined(column: Any) -> Any:
    if not pa.types.is_dictionary(column.type) or column.num_chunks < 2:
        return column
    runs = [list(chunks) for _, chunks in groupby(column.chunks, key=lambda chunk: _place_of(chunk.dictionary))]
    return pa.chunked_array([_of_one_dictionary(chunks) for chunks in runs], column.type)


def _place_of(values: pa.Array) -> tuple[int, ...]:
    """Where the values are in memory."""
    return values.offset, len(values), *(0 if each is None else each.address for each in values.buffers())


def _of_one_dictionary(chunks: Sequence[Any]) -> Any:
    if len(chunks) == 1:
        return chunks[0]
    return pa.DictionaryArray.from_arrays(pa.concat_arrays([chunk.indices for chunk in chunks]), chunks[0].dictionary, safe=False)
