"""Order by value inside groups, by one sort of integers: cheap enough to prune with.

In: groups and values of rows. Out: which rows are beyond a rank, or may be within it. Values are rounded to some 20 to 40 bits, so
that group, value and row fit in one integer; callers that need the exact order sort what is left.
"""

import numpy as np

from columns.arrays import Ints, Mask, bits_of, run_ends


def beyond(group: Ints, value: Ints, keep: int) -> Mask:
    """Rows that are not among about the `keep` largest of their group: never more than `keep` are left."""
    left_out = np.zeros(len(group), np.bool_)
    rows = np.flatnonzero((np.bincount(group) > keep)[group])
    order, _, rank = _by_value(group[rows], value[rows])
    left_out[rows[order[rank >= keep]]] = True
    return left_out


def contenders(group: Ints, value: Ints, keep: int) -> Ints:
    """Rows that may be among the `keep` largest of their group, however ties are broken."""
    order, rounded, rank = _by_value(group, value)
    least = np.zeros(int(group.max(initial=-1)) + 1, np.int64)
    last = order[rank == keep - 1]
    least[group[last]] = rounded[last]
    return np.flatnonzero(rounded >= least[group])


def _by_value(group: Ints, value: Ints) -> tuple[Ints, Ints, Ints]:
    """Positions ordered by group, then by rounded value, larger first; the rounded values; and the rank of each position."""
    row_bits = bits_of(len(group))
    value_bits = 63 - row_bits - int(group.max(initial=0)).bit_length()
    # The bits of a double that is not negative compare as its value.
    rounded = value.astype(np.float64).view(np.int64) >> 63 - value_bits
    keys = ((group << value_bits | ((1 << value_bits) - 1 - rounded)) << row_bits) | np.arange(len(group))
    keys.sort()
    ends = run_ends(keys >> value_bits + row_bits)
    lengths = np.diff(ends, prepend=-1)
    rank = np.arange(len(group)) - np.repeat(ends + 1 - lengths, lengths)
    return keys & ((1 << row_bits) - 1), rounded, rank
