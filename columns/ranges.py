"""Address ranges compiled into sorted intervals, and look-ups of many addresses at once.

In: ranges with a number each, later ones painted over earlier ones. Out: per address the number of the interval that it falls
into, by binary search. Refuses to know what the numbers mean. Addresses are 16 bytes (IPv4 as ::ffff:a.b.c.d), here as two
halves of 64 bits.
"""

import heapq
import ipaddress
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columns.search import search

NOWHERE: Final = -1
_MAPPED: Final = 0xFFFF
_FIRST_IPV4: Final = _MAPPED << 32
_LAST_IPV4: Final = _FIRST_IPV4 + (1 << 32) - 1
_LAST: Final = (1 << 128) - 1
_LOW: Final = (1 << 64) - 1

_Active = tuple[int, int, int]
"""Order (later ranges first), last address and value of a range that the sweep is in."""


@dataclass(frozen=True, slots=True)
class AddressRange:
    """first .. last, both included, as 128-bit integers, and its number (not negative)."""

    first: int
    last: int
    value: int


@dataclass(frozen=True, slots=True)
class Halves:
    """A column of addresses as its upper and lower 64 bits."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class RangeTable:
    """Starts and values of the intervals, for IPv4 in 32 bits and for everything in 128; NOWHERE where no range is."""

    starts_ipv4: NDArray[np.uint32]
    values_ipv4: NDArray[np.int32]
    starts: Halves
    values: NDArray[np.int32]

    def look_up(self, addresses: Halves) -> NDArray[np.int32]:
        """Number of the range that each address is in, NOWHERE if in none."""
        is_ipv4 = (addresses.high == 0) & (addresses.low >> np.uint64(32) == _MAPPED)
        found = self.values_ipv4[search(self.starts_ipv4, addresses.low.astype(np.uint32), "right") - 1]
        others = np.flatnonzero(~is_ipv4)
        if len(others):
            found[others] = self.values[_last_not_above(self.starts, addresses.high[others], addresses.low[others])]
        return found


def network_range(network: str, value: int = 0) -> AddressRange:
    """The range of a network in CIDR form; raises ValueError if it is none or has host bits set."""
    parsed = ipaddress.ip_network(network)
    shift = _FIRST_IPV4 if parsed.version == 4 else 0
    return AddressRange(int(parsed.network_address) + shift, int(parsed.broadcast_address) + shift, value)


def build_range_table(ranges: Iterable[AddressRange]) -> RangeTable:
    """The table in which each address has the number of the last of the ranges that hold it."""
    return table_of_intervals(*_flatten(list(ranges)))


def table_of_intervals(starts: Sequence[int], values: Sequence[int]) -> RangeTable:
    """The table of intervals that are disjoint already: the first start is 0, the others rise, each lasts until the next."""
    first, end = bisect_right(starts, _FIRST_IPV4) - 1, bisect_right(starts, _LAST_IPV4)
    return RangeTable(
        np.array([max(start - _FIRST_IPV4, 0) for start in starts[first:end]], np.uint32),
        np.array(values[first:end], np.int32),
        Halves(np.array([s >> 64 for s in starts], np.uint64), np.array([s & _LOW for s in starts], np.uint64)),
        np.array(values, np.int32),
    )


def halves(addresses: pa.FixedSizeBinaryArray) -> Halves:
    """The halves of a column of 16-byte addresses; those of a null are arbitrary."""
    words = np.frombuffer(addresses.buffers()[1] or b"", ">u8").reshape(-1, 2)
    words = words[addresses.offset : addresses.offset + len(addresses)].astype(np.uint64)
    return Halves(words[:, 0], words[:, 1])


def _flatten(ranges: Sequence[AddressRange]) -> tuple[list[int], list[int]]:
    """Starts and values of disjoint intervals that cover all addresses, neighbours different."""
    starts, values = [0], [NOWHERE]
    for start, value in _sweep(ranges):
        if starts[-1] == start:
            values[-1] = value
        elif values[-1] != value:
            starts.append(start)
            values.append(value)
    return starts, values


def _sweep(ranges: Sequence[AddressRange]) -> Iterator[tuple[int, int]]:
    """(position, value in force from there on), positions rising; the last of one position is the one that holds."""
    active: list[_Active] = []
    for index in sorted(range(len(ranges)), key=lambda index: ranges[index].first):
        arriving = ranges[index]
        yield from _expire(active, arriving.first)
        heapq.heappush(active, (-index, arriving.last, arriving.value))
        yield arriving.first, active[0][2]
    yield from _expire(active, _LAST + 1)


def _expire(active: list[_Active], position: int) -> Iterator[tuple[int, int]]:
    """What comes into force where ranges end before `position`; the heap may keep hidden ranges that have ended."""
    while active and active[0][1] < position:
        end = active[0][1] + 1
        while active and active[0][1] < end:
            heapq.heappop(active)
        if end <= _LAST:
            yield end, active[0][2] if active else NOWHERE


def _last_not_above(starts: Halves, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Index of the last start that is not above each address; the first start is 0."""
    index = search(starts.high, high, "right") - 1
    inside = starts.high[index] == high
    first = search(starts.high, high)
    above = inside & (starts.low[index] > low)
    rows = np.flatnonzero(above)
    if len(rows):
        index[rows] = _bisect(starts.low, first[rows], index[rows], low[rows])
    return index


def _bisect(
    starts: NDArray[np.uint64], first: NDArray[np.int64], above: NDArray[np.int64], low: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Last index in first .. above - 1 whose start is not above `low`, else first - 1; all rows halve together."""
    floor, ceiling = first - 1, above.copy()
    while (open_rows := ceiling - floor > 1).any():
        middle = (floor + ceiling) // 2
        fits = starts[middle] <= low
        floor = np.where(open_rows & fits, middle, floor)
        ceiling = np.where(open_rows & ~fits, middle, ceiling)
    return floor
