"""What became of the flows of each batch and exporter: the pipeline's own lines of the ledger.

In: flows of a bundle with their intervals and counters. Out: one entry per (batch, exporter) that has flows, with exact counts.
Refuses to know minutes and reports (columns/ledger.py joins them).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from columns.arrays import Ints, Mask, Words
from columns.distinct import distinct_codes
from columns.sums import sum_by_key

COUNTS: Final = ("flows", "late", "future", "reversed", "saturated", "clipped_bytes", "packets_sampled", "packets_scaled")
_EMPTY: Final = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Changes:
    """Positions of flows that were changed: refused, repaired, with a counter that was cut (once for each), or with octets that
    were moved to the horizon, and these octets."""

    late: Ints
    future: Ints
    reversed: Ints
    saturated: Ints
    clipped: Ints
    clipped_octets: Ints
    sampled: Ints
    packets: Ints


@dataclass(frozen=True, slots=True)
class Judged:
    """One entry per (batch, exporter) with flows, by batch, then address: `batch` is its number in the bundle, `exporter` the
    address as two big-endian halves (0, 0 where there is none), `counts` has a row for each of COUNTS."""

    batch: Ints
    exporter: Words
    counts: Ints

    def of(self, batches: Mask) -> "Judged":
        """Those of some batches, told by their numbers."""
        kept = np.flatnonzero(batches[self.batch])
        return Judged(self.batch[kept], self.exporter[kept], self.counts[:, kept])

    @staticmethod
    def none() -> "Judged":
        """Of no flows."""
        return Judged(_EMPTY, np.empty((0, 2), np.uint64), np.empty((len(COUNTS), 0), np.int64))


def judged_flows(batch: Ints, exporter: Ints, addresses: Words, changes: Changes) -> Judged:
    """Counts by (batch, exporter); `exporter` has codes of `addresses` (0: none, else position + 1), one per flow."""
    width = len(addresses) + 1
    keys, codes = distinct_codes(batch * width + exporter, (int(batch[-1]) + 1) * width)
    counts = np.zeros((len(COUNTS), len(keys)), np.int64)
    counts[0] = np.bincount(codes, minlength=len(keys))
    changed = (changes.late, changes.future, changes.reversed, changes.saturated)
    for row, flows in enumerate(changed, 1):
        if len(flows):
            counts[row] = np.bincount(codes[flows], minlength=len(keys))
    for row, flows, measures in ((5, changes.clipped, changes.clipped_octets[None, :]), (6, changes.sampled, changes.packets)):
        if len(flows):
            keyed, sums = sum_by_key(codes[flows], max(len(keys) - 1, 1).bit_length(), measures)
            counts[row : row + len(sums), keyed] = sums
    words = np.concatenate([np.zeros((1, 2), np.uint64), addresses])
    return Judged(keys // width, words[keys % width], counts)
