"""Names of the array types of the core, and the few operations on them that numpy lacks: saturation, look-ups, runs, one sort."""

from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Octets = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

MAX: Final = 2**63 - 1
"""Where every counter and sum saturates."""

_TABLE: Final = 1 << 16
"""A table of up to this many entries, or of four per look-up, is cheaper than searching."""


def saturating_add(left: Ints, right: Ints) -> Ints:
    """Elementwise sum of counters that are not negative, at most MAX."""
    total = left + right
    if total.size and total.min() < 0:
        total[total < 0] = MAX
    return total


def bits_of(count: int) -> int:
    """Bits that codes 0 .. count - 1 take."""
    return max(count - 1, 0).bit_length()


def by_code(codes: Ints, values: Ints, wanted: Ints) -> Ints:
    """Value of each wanted code; 0 where it is not among the sorted codes."""
    if not len(codes) or not len(wanted):
        return np.zeros(len(wanted), np.int64)
    domain = int(max(codes[-1], wanted.max())) + 1
    if domain <= max(_TABLE, 4 * len(wanted)):
        table = np.zeros(domain, np.int64)
        table[codes] = values
        return table[wanted]
    at = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
    return np.where(codes[at] == wanted, values[at], 0)


def run_ends(ordered: Ints) -> Ints:
    """Position of the last element of each run of equal neighbours."""
    if not len(ordered):
        return np.empty(0, np.int64)
    last = np.empty(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=last[:-1])
    last[-1] = True
    return np.flatnonzero(last)


def sort_keys(keys: Ints, key_bits: int) -> tuple[Ints, Ints]:
    """Positions that sort the keys, and the sorted keys."""
    row_bits = bits_of(len(keys))
    if key_bits + row_bits > 64:
        order = np.argsort(keys)
        return order, keys[order]
    # Sorting values that carry their row is several times faster than argsort.
    packed = ((keys << row_bits) | np.arange(len(keys))).view(np.uint64)
    packed.sort()
    order = (packed & np.uint64((1 << row_bits) - 1)).view(np.int64)
    return order, (packed >> np.uint64(row_bits)).view(np.int64)
