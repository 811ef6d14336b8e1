"""Records of one layout as arrays of octets.

In: the octets of many sets of one layout, joined. Out: per field the octets of all records, as one array, and numbers of them.
Refuses to know elements. Fixed layouts are strided views without a copy; with fields of variable length (RFC 7011 section 7) all
sets are walked in lockstep: step k reads the k-th record of every set, every length is checked against the end of its set.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ingest.layout import Layout
from ingest.templates import VARIABLE

Octets = NDArray[np.uint8]
Longs = NDArray[np.int64]
LONG_FORM: Final = 255
"""The octet of length that says that two octets of length follow (RFC 7011 section 7)."""
_ADDRESS: Final = 16
_MAX_TEXT: Final = 4096
_AT_ONCE: Final = 8192
"""Records whose fields are read together: few enough to stay in a cache meanwhile."""
RECORDS_PER_SET: Final = 8192
"""Records of variable length that are read from one set; more than this is no traffic but an attack."""


@dataclass(frozen=True, slots=True)
class Block:
    """Records of one layout: `counts` of them came from each set. `known` are fields that have been read, by their number."""

    layout: Layout
    data: Octets
    counts: Longs
    starts: Longs | None = None
    ends: tuple[Longs, ...] = ()
    lengths: tuple[Longs, ...] = ()
    known: dict[int, NDArray[Any]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Records."""
        return int(self.counts.sum())

    def octets(self, number: int) -> Octets:
        """Field `number` as (records, octets); of variable length: the last octets, up to the longest."""
        length = self.layout.fields[number].length
        if self.starts is None:
            offset = self.layout.offsets[number]
            records: Octets = self.data.reshape(-1, self.layout.size)[:, offset : offset + length]
            return records
        if length != VARIABLE:
            gathered: Octets = self.data[self._position(number)[:, None] + np.arange(length)]
            return gathered
        lengths = self._length(number)
        width = min(int(lengths.max(initial=0)), _MAX_TEXT)
        places = self._position(number)[:, None] + lengths[:, None] - width + np.arange(width)
        inside = np.arange(width) >= width - lengths[:, None]
        return np.where(inside, self.data[np.maximum(places, 0)], 0).astype(np.uint8)

    def native(self, number: int) -> NDArray[Any] | None:
        """Field `number` as unsigned integers of its own width, one of 16 octets as two rows of its words as they are; or None.

        Only of many records of a fixed layout, whose fields are read together: each for itself would read all of memory again.
        """
        if self.starts is None and not self.known and self.rows > _AT_ONCE:
            self.known.update(_read_fields(self.layout, self.data))
        return self.known.get(number)

    def spans(self, number: int) -> tuple[Longs, Longs]:
        """Offsets in `data` and lengths of field `number`."""
        if self.starts is not None:
            return self._position(number), self._length(number)
        rows = self.rows
        starts = np.arange(rows, dtype=np.int64) * self.layout.size + self.layout.offsets[number]
        return starts, np.full(rows, self.layout.fields[number].length, np.int64)

    def _variable_before(self, number: int) -> int:
        return sum(item.length == VARIABLE for item in self.layout.fields[:number])

    def _position(self, number: int) -> Longs:
        before = self._variable_before(number)
        fixed_from = max((i for i in range(number) if self.layout.fields[i].length == VARIABLE), default=-1) + 1
        offset = sum(item.length for item in self.layout.fields[fixed_from:number])
        origin = self.ends[before - 1] if before else self.starts
        assert origin is not None
        if self.layout.fields[number].length == VARIABLE:
            return self.ends[before] - self.lengths[before]
        return origin + offset

    def _length(self, number: int) -> Longs:
        length = self.layout.fields[number].length
        if length == VARIABLE:
            return self.lengths[self._variable_before(number)]
        return np.full(self.rows, length, np.int64)


def make_block(layout: Layout, sets: Sequence[bytes]) -> Block:
    """A block of sets without their headers, cut to whole records."""
    data = np.frombuffer(b"".join(sets), np.uint8)
    octets = np.fromiter(map(len, sets), np.int64, len(sets))
    if not layout.variable:
        return Block(layout, data, octets // layout.size)
    return _walk(layout, data, octets)


def _read_fields(layout: Layout, data: Octets) -> dict[int, NDArray[Any]]:
    """All fields that an element is found in and whose width is that of an integer, or of an IPv6 address."""
    records = data.reshape(-1, layout.size)
    found: dict[int, NDArray[Any]] = {}
    parts: list[tuple[NDArray[Any], NDArray[Any]]] = []
    for number in sorted({number for view in layout.views for number in view.index.values()}):
        length, offset = layout.fields[number].length, layout.offsets[number]
        octets = records[:, offset : offset + length]
        if length in (1, 2, 4, 8):
            found[number] = np.empty(len(records), f"u{length}")
            parts.append((found[number], octets.view(f">u{length}")[:, 0]))
        elif length == _ADDRESS:
            found[number] = np.empty((2, len(records)), np.uint64)
            parts += zip(found[number], octets.view(np.uint64).T, strict=True)
    for start in range(0, len(records), _AT_ONCE):
        for column, place in parts:
            column[start : start + _AT_ONCE] = place[start : start + _AT_ONCE]
    for column in found.values():
        column.flags.writeable = False
    return found


def uint(octets: Octets, dtype: Any) -> NDArray[Any]:
    """Unsigned integers of any size (RFC 7011 section 6.2) as `dtype`; of longer ones the low octets."""
    width = octets.shape[1]
    wanted = np.dtype(dtype).itemsize
    if width > wanted:
        octets, width = octets[:, width - wanted :], wanted
    if width in (1, 2, 4, 8) and octets.strides[1] == 1:
        return octets.view(f">u{width}")[:, 0].astype(dtype)
    value = np.zeros(len(octets), dtype)
    for column in range(width):
        value = (value << np.dtype(dtype).type(8)) | octets[:, column].astype(dtype)
    return value


def measure(octets: bytes, gaps: tuple[int, ...]) -> tuple[int, int]:
    """Whole records of variable length in a set, and the octets that they take.

    `gaps` are the octets of fixed fields before each field of variable length and after the last one.
    """
    stop = len(octets)
    records = taken = 0
    while records < RECORDS_PER_SET:
        place = taken
        for gap in gaps[:-1]:
            place += gap
            if place >= stop:
                return records, taken
            length = octets[place]
            if length == LONG_FORM:
                place += 3 + int.from_bytes(octets[place + 1 : place + 3])
            else:
                place += 1 + length
        place += gaps[-1]
        if place > stop:
            return records, taken
        records, taken = records + 1, place
    return records, taken


def _walk(layout: Layout, data: Octets, octets: Longs) -> Block:
    stops = np.cumsum(octets)
    place = stops - octets
    live = np.arange(len(octets))
    counts = np.zeros(len(octets), np.int64)
    found: list[tuple[Longs, Longs, list[Longs], list[Longs]]] = []
    while (live := live[place[live] + layout.size <= stops[live]]).size:
        end, ends, lengths = _walk_record(layout, data, place[live])
        whole = end <= stops[live]
        live = live[whole]
        found.append((live, place[live], [item[whole] for item in ends], [item[whole] for item in lengths]))
        place[live] = end[whole]
        counts[live] += 1
    return Block(layout, data, counts, *_in_order(layout, found))


def _walk_record(layout: Layout, data: Octets, place: Longs) -> tuple[Longs, list[Longs], list[Longs]]:
    ends: list[Longs] = []
    lengths: list[Longs] = []
    last = len(data) - 1
    for item in layout.fields:
        if item.length != VARIABLE:
            place = place + item.length
            continue
        length = data[np.minimum(place, last)].astype(np.int64)
        is_long = length == LONG_FORM
        high, low = data[np.minimum(place + 1, last)].astype(np.int64), data[np.minimum(place + 2, last)]
        length = np.where(is_long, high << 8 | low, length)
        place = place + np.where(is_long, 3, 1) + length
        ends.append(place)
        lengths.append(length)
    return place, ends, lengths


def _in_order(
    layout: Layout, found: list[tuple[Longs, Longs, list[Longs], list[Longs]]]
) -> tuple[Longs, tuple[Longs, ...], tuple[Longs, ...]]:
    variables = sum(item.length == VARIABLE for item in layout.fields)
    none = np.zeros(0, np.int64)
    order = np.argsort(np.concatenate([item[0] for item in found] or [none]), kind="stable")
    starts = np.concatenate([item[1] for item in found] or [none])[order]
    ends = tuple(np.concatenate([item[2][n] for item in found] or [none])[order] for n in range(variables))
    lengths = tuple(np.concatenate([item[3][n] for item in found] or [none])[order] for n in range(variables))
    return starts, ends, lengths
