"""Scaling of sampled counters, exactly once and exactly: docs/explanation/numbers.md, section 3."""

from typing import Final

import numpy as np

from columns.arrays import MAX, Floats, Ints, Words

_LIMIT: Final = float(2**63)


def scale(counter: Words, interval: Floats | None) -> tuple[Ints, Ints]:
    """`counter` times the sampling interval, at most 2^63 - 1, and the positions of those that were cut to that.

    `interval` may hold NaN, infinities and values that are not positive: all of them count as 1. None stands for 1 everywhere.
    """
    if interval is None:
        return saturate(counter)
    factor = np.where(np.isfinite(interval) & (interval > 0), interval, 1.0)
    whole = (factor == np.floor(factor)) & (factor < _LIMIT)
    scaled, over = _times_integer(counter, np.where(whole, factor, 1.0).astype(np.uint64))
    if not whole.all():
        part = np.flatnonzero(~whole)
        scaled[part], over[part] = _times_fraction(counter[part], factor[part])
    return scaled, np.flatnonzero(over)


def saturate(counter: Words) -> tuple[Ints, Ints]:
    """Counters as signed integers, at most 2^63 - 1, and the positions of those that were cut to that."""
    cut = np.flatnonzero(counter > MAX)
    return np.minimum(counter, np.uint64(MAX)).astype(np.int64) if len(cut) else counter.astype(np.int64), cut


def _times_integer(counter: Words, factor: Words) -> tuple[Ints, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    over = counter > np.uint64(MAX) // factor
    return np.where(over, np.uint64(MAX), counter * factor).astype(np.int64), over


def _times_fraction(counter: Words, factor: Floats) -> tuple[Ints, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    with np.errstate(over="ignore"):
        product = np.floor(counter.astype(np.float64) * factor)
    over = product >= _LIMIT
    scaled = np.where(over, 0.0, product).astype(np.int64)
    scaled[over] = MAX
    return scaled, over
