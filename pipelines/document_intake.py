"""From FlowDocuments of a topic to batches that a lane's log accepts: the first hop of a pipeline behind OpenNMS.

In: entries whose values are one FlowDocument each. Out: accepted batches as pipelines.intake makes them. Each partition is a
collector of every lane, with the offset as its number and the second of the append time, at its end, as its mark: so what a
document counts for does not depend on how the topic was read in pieces. Refuses to know topics and clocks.
"""

import logging
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

import numpy as np

from bus.contract import Entry
from columns.arrays import Ints
from columns.log import LaneLog, Position, advance, idle
from flowpb.codec import Header
from flowpb.document_in import flows_of
from flowpb.lanes import lane_of
from pipelines.intake import Intake
from transforms.flows import AcceptedBatch

log = logging.getLogger(__name__)
_SECOND_MS: Final = 1000


class DocumentIntake(Intake):
    """Takes entries of documents; lags, logs and counters are those of an intake of batches, by document."""

    def take(self, entries: Iterable[Entry]) -> None:
        """Judges documents in the order of each partition."""
        for partition, found in groupby(entries, key=lambda entry: entry.partition):
            self._take_of(partition, list(found))

    def idle(self, partition: int, now_ms: int) -> None:
        """Nothing is left in the partition: its marks follow the clock."""
        for lane, known in self.logs.items():
            self.logs[lane] = idle(known, _collector(partition), now_ms)
            self.touched.add(lane)

    def _take_of(self, partition: int, entries: list[Entry]) -> None:
        self.counters.add("pipeline_batches_total", len(entries))
        self.read_ms[partition] = entries[-1].append_ms
        last = self._last(partition)
        fresh = [entry for entry in entries if last is None or entry.offset > last.seq or entry.append_ms > last.mark_ms]
        self.counters.add("pipeline_batches_dropped_total", len(entries) - len(fresh), reason="repeat")
        if not fresh:
            return
        anew = last is not None and fresh[0].offset <= last.seq
        epoch = 0 if last is None else last.epoch + anew
        taken = np.fromiter((entry.append_ms for entry in fresh), np.int64, len(fresh))
        marks = np.maximum.accumulate(taken // _SECOND_MS * _SECOND_MS + _SECOND_MS - 1)
        for first, behind in _runs(marks):
            self._take_second(partition, epoch, int(marks[first]), fresh[first:behind], taken[first:behind])

    def _take_second(self, partition: int, epoch: int, mark_ms: int, entries: list[Entry], taken: Ints) -> None:
        parsed = flows_of([entry.value for entry in entries], taken)
        if len(parsed.faults):
            at = entries[int(parsed.faults[0])]
            log.warning("partition %d offset %d: no FlowDocument, or without its exporter", partition, at.offset)
            self.counters.add("pipeline_batches_dropped_total", len(parsed.faults), reason="contract")
        offsets = np.fromiter((entry.offset for entry in entries), np.int64, len(entries))[parsed.rows]
        exporters = parsed.flows.column("exporter_addr")
        lane_by_exporter = np.array([lane_of(each, self.lanes) for each in exporters.dictionary.to_pylist()] or [0])
        lanes = lane_by_exporter[exporters.indices.to_numpy()]
        order = np.argsort(lanes, kind="stable")
        flows, offsets, bounds = parsed.flows.take(order), offsets[order], np.searchsorted(lanes[order], np.arange(self.lanes + 1))
        for lane in range(self.lanes):
            first, behind = int(bounds[lane]), int(bounds[lane + 1])
            header = Header(_collector(partition), epoch, lane, entries[-1].offset, mark_ms, self.lanes)
            self.logs[lane], verdict = advance(self.logs.get(lane, LaneLog()), header, mark_ms)
            self.touched.add(lane)
            if behind > first:
                frontier_ms = max(verdict.frontier_ms, self.least_frontier_ms)
                self.accepted.setdefault(lane, []).append(
                    AcceptedBatch(
                        lane,
                        header.collector,
                        epoch,
                        0,
                        verdict.mark_ms,
                        frontier_ms,
                        flows.slice(first, behind - first),
                        entries[-1].offset,
                        numbers=offsets[first:behind],
                    )
                )

    def _last(self, partition: int) -> Position | None:
        return next((known.collectors.get(_collector(partition)) for known in self.logs.values()), None)


def _collector(partition: int) -> str:
    return f"documents-{partition}"


def _runs(values: Ints) -> Iterator[tuple[int, int]]:
    """First place and the one behind the last of each run of equal values."""
    edges = np.flatnonzero(np.diff(values)) + 1
    yield from zip([0, *edges.tolist()], [*edges.tolist(), len(values)], strict=True)
