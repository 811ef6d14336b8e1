"""Columns of addresses while they are filled, and the dictionaries of each lane that they become.

In: addresses by row, numbers of exporters by set. Out: one dictionary-encoded array per part of the rows, whose dictionary holds
the part's addresses in the order in which they come first. Refuses to know which column it is.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest.distinct import Distinct, Parts, Words, distinct, make_parts

Bools = NDArray[np.bool_]
Longs = NDArray[np.int64]
_MAPPED: Final = np.uint64(0xFFFF << 32)


@dataclass(slots=True)
class AddressColumn:
    """A column of addresses: IPv4 as numbers, others as two words (of 16 octets, as they are in memory) where `wide` says so.

    Words that are not `owned` are someone else's too, and are copied before they are changed.
    """

    narrow: NDArray[np.uint32]
    valid: Bools
    wide: Bools | None = None
    words: Words | None = None
    owned: bool = True


def encode_addresses(column: AddressColumn, parts: Parts) -> list[pa.DictionaryArray]:
    """The column of each part."""
    if column.valid.all():
        found, values = _distinct(column, parts, slice(None))
        return _cut(pa.array(found.codes), fixed_binary(values, None), found.starts, parts.bounds)
    rows = np.flatnonzero(column.valid)
    found, values = _distinct(column, make_parts(np.searchsorted(rows, parts.bounds)), rows)
    codes = np.zeros(len(column.valid), np.int32)
    codes[rows] = found.codes
    return _cut(pa.array(codes, mask=~column.valid), fixed_binary(values, None), found.starts, parts.bounds)


def encode_exporters(numbers: Longs, counts: Longs, exporters: list[bytes], bounds: Longs) -> list[pa.DictionaryArray]:
    """The exporter of each row of each part: `numbers` are those of sets with `counts` rows each, of which no part has a share."""
    filled = counts > 0
    numbers, counts = numbers[filled], counts[filled]
    found = distinct(make_parts(np.searchsorted(np.cumsum(counts), bounds, side="right")), [numbers.astype(np.uint64)])
    values = pa.array([exporters[number] for number in numbers[found.rows].tolist()], pa.binary(16))
    return _cut(pa.array(np.repeat(found.codes, counts)), values, found.starts, bounds)


def _distinct(column: AddressColumn, parts: Parts, rows: slice | Longs) -> tuple[Distinct, NDArray[np.uint8]]:
    """The distinct addresses of the rows, and their octets."""
    if column.wide is None or column.words is None:
        narrow = column.narrow[rows]
        found = distinct(parts, [narrow.astype(np.uint64)])
        return found, _mapped(narrow[found.rows])
    words, wide = column.words[:, rows], column.wide[rows]
    if not wide.all():
        words = words.copy()
        words[:, ~wide] = _mapped(column.narrow[rows][~wide]).view(np.uint64).T
    high, low = np.ascontiguousarray(words)
    found = distinct(parts, [high, low])
    return found, np.stack([high[found.rows], low[found.rows]], axis=1).view(np.uint8)


def _cut(codes: pa.Array, values: pa.Array, starts: Longs, bounds: Longs) -> list[pa.DictionaryArray]:
    """The rows of each part with the values of its own."""
    parts = zip(bounds.tolist(), np.diff(bounds).tolist(), starts.tolist(), np.diff(starts).tolist(), strict=False)
    return [
        pa.DictionaryArray.from_arrays(codes.slice(row, rows), values.slice(start, count), safe=False)
        for row, rows, start, count in parts
    ]


def _mapped(narrow: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """IPv4 addresses as 16 octets (RFC 4291 section 2.5.5.2)."""
    words = np.zeros((len(narrow), 2), ">u8")
    words[:, 1] = narrow | _MAPPED
    return words.view(np.uint8)


def fixed_binary(octets: NDArray[np.uint8], mask: Bools | None) -> pa.Array:
    """Rows of octets as values of a fixed length, null where the mask says so."""
    data = pa.py_buffer(np.ascontiguousarray(octets))
    bitmap = None if mask is None else pa.py_buffer(np.packbits(~mask, bitorder="little"))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(octets.shape[1]), len(octets), [bitmap, data])
