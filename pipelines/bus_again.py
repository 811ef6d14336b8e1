"""Flows of some windows once more from the bus, judged as they were when they were read first.

In: a source that still has them, entries of the queue of repairs. Out: enriched flows of one lane after the other, in the order of
its log, each batch with its mark and frontier. Refuses to know what becomes of them.

Reading begins 12 minutes before the first window, by the bus's clock, with lanes of which nothing is known. That is enough: a batch
with flows of a window has a mark of at most a minute before it, so it is judged when marks have gone on by 10 minutes (the lease)
from all that was read before; whoever is live then was heard of since, and no frontier of before can be larger than that of now.
It ends with the last batch that was late for one of the windows; those that were not came before.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from bus.contract import Source
from columns.enrich import Enricher
from columns.flows import read_times
from columns.interval import judge
from flowpb.groupings import FUTURE_MS, LEASE_MS
from pipelines.ranges import RangeSource, read_range
from stores.questions import Span
from stores.queued import Queued

BEFORE_MS: Final = LEASE_MS + 2 * FUTURE_MS
_EVER_MS: Final = 1 << 60


class Again(NamedTuple):
    """Flows of one batch, enriched."""

    lane: int
    flows: pa.RecordBatch
    mark_ms: int
    frontier_ms: int


def flows_again(
    opener: Callable[[], Source], lanes: int, enricher: Enricher, entries: Sequence[Queued], span: Span
) -> Iterator[Again]:
    """The flows of the entries' lanes that count in `span`, as far as the bus still has them; raises BusError."""
    source = opener()
    try:
        wanted = {entry.lane for entry in entries}
        for batch in read_range(_until_the_last(source, entries, span), lanes, span.from_ms - BEFORE_MS, _EVER_MS, wanted):
            flows = touching(batch.flows, batch.mark_ms, batch.frontier_ms, span)
            if flows.num_rows:
                yield Again(batch.lane, enricher.enrich(flows), batch.mark_ms, batch.frontier_ms)
    finally:
        source.close()


def touching(flows: pa.RecordBatch, mark_ms: int, frontier_ms: int, span: Span) -> pa.RecordBatch:
    """Those of the flows whose interval, also as a late one, touches the span."""
    if not flows.num_rows:
        return flows
    start, end, correction = read_times(flows)
    intervals = judge(start, end, correction, np.array(mark_ms), np.array(frontier_ms)).repaired()
    touches = intervals.accepted & (intervals.start < span.to_ms) & (intervals.end >= span.from_ms)
    return flows if touches.all() else flows.filter(pa.array(touches))


def _until_the_last(source: Source, entries: Sequence[Queued], span: Span) -> Source:
    last: dict[int, int] = {}
    for entry in entries:
        partition = source.home_of(entry.lane)
        last[partition] = max(last.get(partition, 0), entry.late.offset + 1)
    bounds = {}
    for partition in range(source.partitions):
        begin = source.begin(partition)
        first = max(begin, source.offset_at(partition, span.from_ms - BEFORE_MS)) if partition in last else begin
        bounds[partition] = (first, max(first, last.get(partition, first)))
    return RangeSource(source, bounds)
