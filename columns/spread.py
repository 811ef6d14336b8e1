"""Shares of flows in the windows that they cross: docs/explanation/numbers.md, section 4.

In: intervals and counters, one column per flow. Out: one row per (flow, window) with the flow's share of each counter; the shares
of a flow add exactly to its counters and nothing on the way is larger than they are. Refuses to know what the counters mean.
"""

from dataclasses import dataclass

import numpy as np

from columns.arrays import Ints, Mask
from flowpb.groupings import WINDOW_MS


@dataclass(frozen=True, slots=True)
class Shares:
    """Rows: number of the flow, number of the window (start / 60 s), whether it is the flow's last, shares (counters, rows)."""

    flow: Ints
    window: Ints
    last: Mask
    values: Ints


def spread(start: Ints, end: Ints, counters: Ints) -> Shares:
    """Shares of `counters` (counters, flows) over [start, end) in ms; an empty interval falls whole into its window.

    Products are below (end - start)^2, so intervals may be up to 2^31 ms long (the horizon keeps them far below).
    """
    first = start // WINDOW_MS
    last = np.maximum(end - 1, start) // WINDOW_MS
    whole, cut = np.flatnonzero(first == last), np.flatnonzero(first < last)
    if not len(cut):
        return Shares(whole, first, np.ones(len(whole), np.bool_), counters)
    windows = last[cut] - first[cut] + 1
    ends = np.cumsum(windows)
    row = np.repeat(np.arange(len(cut)), windows)
    window = np.arange(len(row)) + (first[cut] - ends + windows)[row]
    duration = (end - start)[cut][row]
    passed = np.minimum((window + 1) * WINDOW_MS - start[cut][row], duration)
    is_last = np.ones(len(whole) + len(row), np.bool_)
    is_last[len(whole) :] = np.diff(row, append=-1) != 0
    values = np.empty((len(counters), len(whole) + len(row)), np.int64)
    np.take(counters, whole, axis=1, out=values[:, : len(whole)])
    for counter, value in zip(counters, values, strict=True):
        value[len(whole) :] = _differences(share_until(counter[cut][row], passed, duration), ends - windows)
    return Shares(np.concatenate([whole, cut[row]]), np.concatenate([first[whole], window]), is_last, values)


def share_until(counter: Ints, passed: Ints, duration: Ints) -> Ints:
    """The part of a counter that falls into the first `passed` ms of `duration` > 0 ms: S(t) of numbers.md."""
    quotient, rest = np.divmod(counter, duration)
    part: Ints = quotient * passed + rest * passed // duration
    return part


def _differences(until: Ints, firsts: Ints) -> Ints:
    share = until.copy()
    share[1:] -= until[:-1]
    share[firsts] = until[firsts]
    return share
