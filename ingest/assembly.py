"""Columns of a drain while they are filled, and the record batches of each lane that they become.

In: values for some rows of a column, by position. Out: one Arrow record batch per lane in the order of INGEST_SCHEMA; a column that
nobody filled is left out, a row that nobody filled is null. Refuses to know where values come from.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowpb.schema import BY_NAME, INGEST_SCHEMA
from ingest.address_columns import AddressColumn, encode_addresses, encode_exporters, fixed_binary
from ingest.distinct import make_parts

Where = slice | NDArray[np.int64]
Bools = NDArray[np.bool_]
ALL: Final = slice(None)


@dataclass(slots=True)
class NumberColumn:
    """A column of numbers or of octets of fixed length; `valid` None means that every row has a value.

    Values that are not `owned` are someone else's too, and are copied before they are changed.
    """

    values: NDArray[Any]
    valid: Bools | None
    owned: bool


@dataclass(slots=True)
class ListColumn:
    """A column of lists of numbers: where the values of each row start in `values`, and how many they are."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    valid: Bools
    values: list[NDArray[np.uint32]] = field(default_factory=list)
    filled: int = 0


@dataclass(slots=True)
class Assembly:
    """All columns of `rows` flows, which came in sets of `counts` each; `exporter_of` numbers the exporter of each set."""

    rows: int
    exporter_of: NDArray[np.int64]
    counts: NDArray[np.int64]
    exporters: list[bytes]
    numbers: dict[str, NumberColumn] = field(default_factory=dict)
    addresses: dict[str, AddressColumn] = field(default_factory=dict)
    lists: dict[str, ListColumn] = field(default_factory=dict)
    objects: dict[str, list[Any]] = field(default_factory=dict)

    def put(self, name: str, where: Where, values: NDArray[Any], valid: Bools | None = None) -> None:
        """Fill rows `where` of a column with `values`; rows that are not valid stay as they were. Keeps `values` if it can."""
        if valid is not None and valid.all():
            valid = None
        if valid is None and self._is_all(where):
            self.numbers[name] = NumberColumn(values, None, owned=False)
            return
        if valid is not None and not valid.any():
            return
        column = self.numbers.get(name)
        if column is None:
            shape = (self.rows, *values.shape[1:])
            column = self.numbers[name] = NumberColumn(np.zeros(shape, values.dtype), np.zeros(self.rows, bool), owned=True)
        if not column.owned:
            column.values, column.owned = column.values.copy(), True
        rows = where if valid is None else _chosen(where, valid)
        column.values[rows] = values if valid is None else values[valid]
        if column.valid is not None:
            column.valid[rows] = True

    def put_narrow(self, name: str, where: Where, values: NDArray[np.uint32], valid: Bools | None = None) -> None:
        """Fill rows with IPv4 addresses."""
        column = self._address(name)
        rows = where if valid is None or valid.all() else _chosen(where, valid)
        column.narrow[rows] = values if rows is where else values[valid]
        column.valid[rows] = True
        if column.wide is not None:
            column.wide[rows] = False

    def put_wide(self, name: str, where: Where, words: NDArray[np.uint64], valid: Bools | None = None) -> None:
        """Fill rows with addresses of 16 octets: two rows of words as they are in memory. Keeps `words` if it can."""
        if valid is not None and not valid.any():
            return
        if (valid is None or valid.all()) and self._is_all(where):
            every = np.ones(self.rows, bool)
            self.addresses[name] = AddressColumn(np.zeros(self.rows, np.uint32), every, every.copy(), words, owned=False)
            return
        column = self._address(name)
        if column.wide is None or column.words is None:
            column.wide = np.zeros(self.rows, bool)
            column.words = np.zeros((2, self.rows), np.uint64)
        if not column.owned:
            column.words, column.owned = column.words.copy(), True
        rows = where if valid is None or valid.all() else _chosen(where, valid)
        column.words[:, rows] = words if rows is where else words[:, valid]
        column.wide[rows] = True
        column.valid[rows] = True

    def put_lists(self, name: str, rows: NDArray[np.int64], lengths: NDArray[np.int64], values: NDArray[np.uint32]) -> None:
        """Fill rows of a column of lists; `values` holds the values of all rows one after the other."""
        if not len(rows):
            return
        column = self.lists.get(name)
        if column is None:
            none = np.zeros(self.rows, np.int64)
            column = self.lists[name] = ListColumn(none, none.copy(), np.zeros(self.rows, bool))
        column.starts[rows] = column.filled + np.cumsum(lengths) - lengths
        column.lengths[rows] = lengths
        column.valid[rows] = True
        column.values.append(values)
        column.filled += len(values)

    def put_objects(self, name: str, rows: NDArray[np.int64], values: list[Any]) -> None:
        """Fill rows of a column that holds structures or text, one Python object each; for columns that few exporters send."""
        column = self.objects.setdefault(name, [None] * self.rows)
        for row, value in zip(rows.tolist(), values, strict=True):
            column[row] = value

    def batches(self, bounds: NDArray[np.int64]) -> dict[int, pa.RecordBatch]:
        """Record batch of each lane: rows bounds[lane] to bounds[lane + 1]."""
        whole = {name: self._arrow(name) for name in (*self.numbers, *self.lists, *self.objects)}
        names = [name for name in INGEST_SCHEMA.names if name in whole or name in self.addresses or name == "exporter_addr"]
        schema = pa.schema([INGEST_SCHEMA.field(name) for name in names])
        lanes = np.flatnonzero(np.diff(bounds))
        parts = make_parts(np.append(bounds[lanes], bounds[-1]))
        encoded = {name: encode_addresses(column, parts) for name, column in self.addresses.items()}
        encoded["exporter_addr"] = encode_exporters(self.exporter_of, self.counts, self.exporters, parts.bounds)
        result: dict[int, pa.RecordBatch] = {}
        for number, lane in enumerate(lanes.tolist()):
            start, stop = int(bounds[lane]), int(bounds[lane + 1])
            columns = {name: column.slice(start, stop - start) for name, column in whole.items()}
            columns |= {name: parted[number] for name, parted in encoded.items()}
            result[lane] = pa.RecordBatch.from_arrays([columns[name] for name in names], schema=schema)
        return result

    def _is_all(self, where: Where) -> bool:
        return isinstance(where, slice) and where == ALL

    def _address(self, name: str) -> AddressColumn:
        column = self.addresses.get(name)
        if column is None:
            column = self.addresses[name] = AddressColumn(np.zeros(self.rows, np.uint32), np.zeros(self.rows, bool))
        return column

    def _arrow(self, name: str) -> pa.Array:
        kind = BY_NAME[name].type
        if name in self.lists:
            return _lists(self.lists[name])
        if name in self.objects:
            values = pa.array(self.objects[name], kind.value_type if pa.types.is_dictionary(kind) else kind)
            return values.dictionary_encode() if pa.types.is_dictionary(kind) else values
        column = self.numbers[name]
        mask = None if column.valid is None or column.valid.all() else ~column.valid
        if pa.types.is_fixed_size_binary(kind):
            return fixed_binary(column.values, mask)
        return pa.array(column.values, kind, mask=mask)


def _lists(column: ListColumn) -> pa.ListArray:
    lengths = np.where(column.valid, column.lengths, 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    places = np.repeat(column.starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    values = np.concatenate([np.zeros(0, np.uint32), *column.values])[places]
    mask = None if column.valid.all() else pa.array(~column.valid)
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(values), mask=mask)


def _chosen(where: Where, valid: Bools) -> NDArray[np.int64]:
    return np.flatnonzero(valid) if isinstance(where, slice) else where[valid]
