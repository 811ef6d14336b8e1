"""Accepted batches to enriched flows, and enriched flows to parts of windows.

In: batches that their lane's log accepted, each with the mark and the frontier that it is judged by. Out: enriched flows for the
raw store, and KV[(lane, window), part] for lane state. Refuses to know where batches come from and who keeps the parts.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from columns.arrays import Ints
from columns.enrich import Enricher
from columns.lane import LaidOut, Limits, lay_out_lanes
from columns.ledger import part_of_judged
from flowpb.flow_batch_pb2 import ExporterReport
from transforms.in_place import KnownDoFn, stays_in_place
from transforms.keys import moment, pack_key, pack_lane

NAMESPACE: Final = "nephrite"
LEDGER: Final = "ledger"
_BUNDLE_FLOWS: Final = 200_000
_ENRICHED_FLOWS: Final = 50_000
"""Flows that wait to be enriched together: as many as raw documents are made of at a time, since they get one dictionary."""


@stays_in_place
@dataclass(frozen=True, slots=True)
class AcceptedBatch:
    """One batch of a lane's log that is no repeat; `mark_ms` is clamped, `frontier_ms` the frontier that it raised.

    `reports` are those of its collector; `missing` batches of that never came before it.
    Lives inside one fused stage only: what crosses a stage is bytes.
    """

    lane: int
    collector: str
    epoch: int
    seq: int
    mark_ms: int
    frontier_ms: int
    flows: pa.RecordBatch
    offset: int = -1
    """Where the bus has it."""
    reports: tuple[ExporterReport, ...] = ()
    missing: int = 0
    numbers: Ints | None = None
    """Numbers of the flows in the identity (collector, epoch, lane, seq, number); None: 0, 1, 2 ..."""


class Enrich(KnownDoFn):
    """AcceptedBatch -> the same with the pipeline's columns; a batch without flows (a heartbeat) ends here.

    Batches wait until there are many flows, or the bundle ends: enriching costs more per batch than per flow.
    """

    def __init__(self, enricher: Enricher, keep: bool = False) -> None:
        self._enricher, self._keep = enricher, keep
        self._flows = Metrics.counter(NAMESPACE, "pipeline_flows_total")
        self._waiting: list[AcceptedBatch] = []
        self._count = 0

    def start_bundle(self) -> None:
        """A bundle starts empty, also when the last one failed."""
        self._waiting, self._count = [], 0

    def process(self, batch: AcceptedBatch) -> Iterator[WindowedValue]:
        """Keeps the batch until there are enough."""
        if batch.flows.num_rows:
            self._flows.inc(batch.flows.num_rows)
            self._waiting.append(batch)
            self._count += batch.flows.num_rows
        if self._count >= _ENRICHED_FLOWS:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Enriches what is left, and counts what enrichment did beside the flows."""
        yield from self._flush()
        for name, amount in self._enricher.take_counts().items():
            Metrics.counter(NAMESPACE, name).inc(amount)

    def _flush(self) -> Iterator[WindowedValue]:
        waiting, self._waiting, self._count = self._waiting, [], 0
        enriched = self._enricher.enrich_many([batch.flows for batch in waiting], self._keep)
        for batch, flows in zip(waiting, enriched, strict=True):
            yield GlobalWindows.windowed_value(replace(batch, flows=flows), moment(batch.frontier_ms))


Keyed = tuple[bytes, bytes]


def _nothing() -> Sequence[Keyed]:
    return ()


class LayOut(KnownDoFn):
    """AcceptedBatch -> KV[key, part]: one part per (lane, window) and bundle, so that elements stay few.

    Tagged LEDGER: KV[key of the lane, part of its ledger], what became of the flows. `beside` gives more parts for each bundle.
    """

    def __init__(self, limits: Limits, beside: Callable[[], Iterable[Keyed]] = _nothing) -> None:
        self._limits, self._beside = limits, beside
        self._waiting: list[AcceptedBatch] = []
        self._count = 0

    def start_bundle(self) -> None:
        """A bundle starts empty, also when the last one failed."""
        self._waiting, self._count = [], 0

    def process(self, batch: AcceptedBatch) -> Iterator[Any]:
        """Keeps the batch until the bundle ends or is large."""
        self._waiting.append(batch)
        self._count += batch.flows.num_rows
        if self._count >= _BUNDLE_FLOWS:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[Any]:
        """Lays out what is left."""
        yield from self._flush()
        yield from (GlobalWindows.windowed_value(keyed, MIN_TIMESTAMP) for keyed in self._beside())

    def _flush(self) -> Iterator[Any]:
        waiting, self._waiting, self._count = self._waiting, [], 0
        if not waiting:
            return
        lanes = [batch.lane for batch in waiting]
        parts, laid = lay_out_lanes([(b.flows, b.mark_ms, b.frontier_ms) for b in waiting], lanes, self._limits)
        count(laid)
        reached = {lane: max(b.frontier_ms for b in waiting if b.lane == lane) for lane in dict.fromkeys(lanes)}
        marks = [(b.mark_ms, b.frontier_ms) for b in waiting]
        for lane, frontier_ms in reached.items():
            judged = part_of_judged(laid.judged.of(np.array(lanes) == lane), marks)
            yield TaggedOutput(LEDGER, GlobalWindows.windowed_value((pack_lane(lane), judged), moment(frontier_ms)))
        for (lane, window_start_ms), part in parts.items():
            yield GlobalWindows.windowed_value((pack_key(lane, window_start_ms), part), moment(reached[lane]))


def laying_out(limits: Limits, beside: Callable[[], Iterable[Keyed]] = _nothing) -> beam.ParDo:
    """LayOut as a transform of two outputs: parts of windows, and parts of ledgers."""
    return beam.ParDo(LayOut(limits, beside)).with_output_types(Keyed, ledger=Keyed).with_outputs(LEDGER, main="parts")


def count(laid: LaidOut) -> None:
    """Counts of one lay-out as Beam counters, which a runner commits with the bundle."""
    for reason, amount in (
        ("future", laid.future),
        ("reversed", laid.reversed),
        ("late", laid.late),
        ("ancient", laid.ancient),
        ("saturated", laid.saturated),
    ):
        if amount:
            Metrics.counter(NAMESPACE, f'pipeline_flows_judged_total{{reason="{reason}"}}').inc(amount)
    Metrics.counter(NAMESPACE, "pipeline_clipped_bytes_total").inc(laid.clipped_bytes)
    Metrics.counter(NAMESPACE, "pipeline_rows_total").inc(laid.rows)
