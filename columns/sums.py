"""Sums by key: the one sort that everything else derives from.

In: packed integer keys and columns of counters that are not negative. Out: distinct keys in order and the sums of each. Sums
saturate at 2^63 - 1 instead of wrapping. Refuses to know what keys mean.
"""

from typing import Final

import numpy as np

from columns.arrays import MAX, Ints, Octets, run_ends, sort_keys

_LOW_BITS: Final = 32
_LOW: Final = 2**_LOW_BITS - 1
_SAFE: Final = float(MAX - 2**55)
"""Sums of doubles up to this are sums of integers up to MAX, whatever was rounded."""


def sum_by_key(keys: Ints, key_bits: int, measures: Ints) -> tuple[Ints, Ints]:
    """Distinct keys (groups) in order, and the sums (measures, groups) of `measures` (measures, rows); keys below 2^key_bits."""
    if 1 << key_bits <= 2 * len(keys) and not _may_saturate(measures):
        return _sum_by_table(keys, 1 << key_bits, measures)
    order, ordered = sort_keys(keys, key_bits)
    ends = run_ends(ordered)
    return ordered[ends], sum_runs(np.take(measures, order, axis=1), ends)


def sum_with_flags(keys: Ints, key_bits: int, measures: Ints, flags: Octets) -> tuple[Ints, tuple[Ints, Octets]]:
    """Distinct keys in order, sums of the measures and the union of the flags of each."""
    order, ordered = sort_keys(keys, key_bits)
    ends = run_ends(ordered)
    if not len(ends):
        return ordered, (measures, flags)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])
    return ordered[ends], (sum_runs(np.take(measures, order, axis=1), ends), np.bitwise_or.reduceat(flags[order], starts))


def sum_runs(measures: Ints, ends: Ints) -> Ints:
    """Sums of neighbouring columns of `measures`, each run ending at one of `ends`."""
    if _may_saturate(measures):
        return _sum_runs_saturating(measures, ends)
    return _run_differences(measures, ends)


def _run_differences(measures: Ints, ends: Ints) -> Ints:
    # The running sum may wrap; the differences are exact modulo 2^64 and fit.
    until = np.take(np.cumsum(measures, axis=1), ends, axis=1)
    sums = until.copy()
    sums[:, 1:] -= until[:, :-1]
    return sums


def _sum_by_table(keys: Ints, domain: int, measures: Ints) -> tuple[Ints, Ints]:
    present = np.zeros(domain, np.bool_)
    present[keys] = True
    distinct = np.flatnonzero(present)
    table = np.zeros((len(measures), domain), np.int64)
    for sums, measure in zip(table, measures, strict=True):
        np.add.at(sums, keys, measure)
    return distinct, np.take(table, distinct, axis=1)


def _may_saturate(measures: Ints) -> bool:
    if int(measures.max(initial=0)) * measures.shape[1] <= MAX:
        return False
    return bool(measures.sum(axis=1, dtype=np.float64).max() > _SAFE)


def _sum_runs_saturating(measures: Ints, ends: Ints) -> Ints:
    high = _run_differences(measures >> _LOW_BITS, ends)
    low = _run_differences(measures & _LOW, ends)
    high += low >> _LOW_BITS
    return np.where(high > _LOW >> 1, MAX, ((high & (_LOW >> 1)) << _LOW_BITS) | (low & _LOW))
