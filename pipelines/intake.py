"""From entries of the bus to batches that their lane's log accepts: the first hop of every runner.

In: bus entries in order, and the logs of their lanes. Out: accepted batches, each with the mark and frontier that it is judged by;
what is refused is counted by reason. Refuses to know who keeps the logs and who reads the bus.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bus.contract import Entry, Source
from columns.log import LaneLog, advance
from common.errors import BusReplacedError, OffsetGoneError
from common.metrics import Counters
from flowpb.codec import ContractError, decode
from transforms.flows import AcceptedBatch

log = logging.getLogger(__name__)


def read_on(
    source: Source, partition: int, offset: int, max_bytes: int, wait_s: float, counters: Counters
) -> tuple[Sequence[Entry], int]:
    """Entries from `offset` on, and the offset behind them. Offsets that the bus let go unread are counted and passed over.

    A bus that was made anew is read from its beginning: the offset behind may then be below `offset`. Raises BusError.
    """
    while True:
        try:
            entries = source.read(partition, offset, max_bytes, wait_s)
            if not entries and source.end(partition) < offset:
                raise BusReplacedError(f"partition {partition} ends at {source.end(partition)}")
        except BusReplacedError as error:
            log.warning("partition %d was read to %d, %s: it is another bus, read from its beginning", partition, offset, error)
            counters.add("pipeline_bus_replaced_total")
            offset = source.begin(partition)
        except OffsetGoneError:
            begin = source.begin(partition)
            if begin <= offset:
                raise
            log.warning("partition %d: entries %d to %d are gone, they were not read in time", partition, offset, begin - 1)
            counters.add("pipeline_batches_dropped_total", begin - offset, reason="gone")
            offset = begin
        else:
            return entries, entries[-1].offset + 1 if entries else offset


@dataclass(slots=True)
class Intake:
    """Batches accepted so far, and the lane logs after them.

    Flows are judged by a frontier of at least `least_frontier_ms`: windows below it may be closed already, though the lane's own
    log does not know (it was silent, or never heard of, while others went on).
    """

    logs: dict[int, LaneLog]
    lanes: int
    least_frontier_ms: int = 0
    accepted: dict[int, list[AcceptedBatch]] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)
    counters: Counters = field(default_factory=Counters)
    read_ms: dict[int, int] = field(default_factory=dict)
    """Append time of the newest entry taken from each partition."""

    def take(self, entries: Iterable[Entry]) -> None:
        """Judges entries in the order of the bus."""
        for entry in entries:
            self._judge(entry)

    def _judge(self, entry: Entry) -> None:
        self.counters.add("pipeline_batches_total")
        self.read_ms[entry.partition] = entry.append_ms
        try:
            header, flows = decode(entry.value)
            if header.lanes != self.lanes:
                raise ContractError(f"batch of a deployment with {header.lanes} lanes, this one has {self.lanes}")
        except ContractError as error:
            log.warning("partition %d offset %d: batch not used: %s", entry.partition, entry.offset, error)
            self.counters.add("pipeline_batches_dropped_total", reason="contract")
            return
        lane = header.lane
        before = self.logs.get(lane, LaneLog())
        self.logs[lane], verdict = advance(before, header, entry.append_ms)
        if not verdict.accepted:
            reason = "repeat" if header.collector in before.collectors else "forgotten"
            self.counters.add("pipeline_batches_dropped_total", reason=reason)
            return
        self.touched.add(lane)
        frontier_ms = max(verdict.frontier_ms, self.least_frontier_ms)
        batch = AcceptedBatch(lane, header.collector, header.epoch, header.seq, verdict.mark_ms, frontier_ms, flows, entry.offset)
        self.accepted.setdefault(lane, []).append(replace(batch, reports=header.reports, missing=verdict.missing))


def frontiers(logs: Mapping[int, LaneLog]) -> dict[int, int]:
    """Frontier of each lane that has one."""
    return {lane: known.frontier_ms for lane, known in logs.items() if known.frontier_ms is not None}
