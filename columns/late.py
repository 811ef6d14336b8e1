"""What windows miss because flows came too late for them: the entries of the queue of repairs.

In: the flows of one batch with the mark and the frontier that they are judged by. Out: per window how many late flows end in it and
how many shares of late flows it lacks (docs/explanation/numbers.md 2.6), and where the ledger has counted them. Refuses to know who
keeps the queue. A batch without late
flows, as nearly all are, costs one addition and one comparison per flow.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from columns.arrays import Ints
from columns.flows import read_times
from columns.interval import judge
from columns.spread import Shares, spread
from flowpb.groupings import HORIZON_MS, WINDOW_MS

Origin = tuple[int, bytes | None]
"""Start of the receive minute in ms, and address of the exporter: where the ledger counts a late flow."""


class Missing(NamedTuple):
    """What a window misses: late flows that end in it, and shares of any late flow."""

    flows: int
    shares: int

    def plus(self, other: "Missing") -> "Missing":
        """Both together."""
        return Missing(self.flows + other.flows, self.shares + other.shares)


NOTHING = Missing(0, 0)


def missing(flows: pa.RecordBatch, mark_ms: int | Ints, frontier_ms: int | Ints) -> Mapping[int, Missing]:
    """What the late flows of a batch leave open, by start of window in ms; the ancient ones leave nothing.

    Mark and frontier are those of the batch, or one per flow.
    """
    late = _late(flows, mark_ms, frontier_ms)
    if late is None:
        return {}
    shares = late.shares
    windows, number = np.unique(shares.window, return_inverse=True)
    ending, count = np.bincount(number, shares.last).tolist(), np.bincount(number).tolist()
    return {
        window * WINDOW_MS: Missing(int(flows_), shares_)
        for window, flows_, shares_ in zip(windows.tolist(), ending, count, strict=True)
    }


def origins(flows: pa.RecordBatch, mark_ms: int | Ints, frontier_ms: int | Ints) -> Mapping[int, Counter[Origin]]:
    """By start of window, how many late flows end there and where the ledger has counted them; arguments as of `missing`."""
    late = _late(flows, mark_ms, frontier_ms)
    if late is None:
        return {}
    minute = np.broadcast_to(np.asarray(mark_ms), flows.num_rows)[late.flows] // WINDOW_MS * WINDOW_MS
    last = late.shares.last
    ending = pa.table(
        {
            "window": late.shares.window[last] * WINDOW_MS,
            "minute": minute[late.shares.flow[last]],
            "exporter": flows.column("exporter_addr").cast(pa.binary()).take(pa.array(late.flows[late.shares.flow[last]])),
        }
    )
    found: dict[int, Counter[Origin]] = {}
    for row in ending.group_by(["window", "minute", "exporter"]).aggregate([([], "count_all")]).to_pylist():
        found.setdefault(row["window"], Counter())[row["minute"], row["exporter"]] = row["count_all"]
    return found


class _Late(NamedTuple):
    """Positions of late flows, and their shares."""

    flows: Ints
    shares: Shares


def _late(flows: pa.RecordBatch, mark_ms: int | Ints, frontier_ms: int | Ints) -> _Late | None:
    if not flows.num_rows:
        return None
    start, end, correction = read_times(flows)
    # A late flow ends before the horizon; one from the future ends at the mark.
    if (np.minimum(end + correction, mark_ms) >= np.subtract(frontier_ms, HORIZON_MS)).all():
        return None
    intervals = judge(start, end, correction, np.asarray(mark_ms), np.asarray(frontier_ms))
    late = np.flatnonzero(~intervals.accepted & ~intervals.ancient)
    if not len(late):
        return None
    return _Late(late, spread(intervals.late_start[late], intervals.end[late], np.empty((0, len(late)), np.int64)))
