"""Where a reader stands: how far behind the bus, and how far its lanes are.

In: a source, offsets reached, lanes' logs. Out: lags, and gauges by the names of the metrics table. Refuses to know who shows them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bus.contract import Source
from columns.log import LaneLog
from common.clock import wall_clock


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a reader is behind in one partition: entries, and the age of the newest that it has read (0 at the end)."""

    partition: int
    records: int
    ms: int


def lag_of(source: Source, partition: int, offset: int, read_ms: int | None, now_ms: int | None = None) -> Lag:
    """The lag of a reader at `offset` whose newest entry was appended at `read_ms`, None before the first."""
    records = max(0, source.end(partition) - offset)
    now_ms = wall_clock() if now_ms is None else now_ms
    return Lag(partition, records, max(0, now_ms - read_ms) if records and read_ms is not None else 0)


def gauges_of(lags: Iterable[Lag], logs: Mapping[int, LaneLog]) -> dict[str, int]:
    """All of it under the names of common.metrics."""
    gauges: dict[str, int] = {}
    for lag in lags:
        gauges[f'pipeline_unread_batches{{partition="{lag.partition}"}}'] = lag.records
        gauges[f'pipeline_unread_seconds{{partition="{lag.partition}"}}'] = lag.ms // 1000
    for lane, log in sorted(logs.items()):
        if log.frontier_ms is not None:
            gauges[f'pipeline_frontier_seconds{{lane="{lane}"}}'] = log.frontier_ms // 1000
            gauges[f'pipeline_collectors{{lane="{lane}"}}'] = log.live
    return gauges
