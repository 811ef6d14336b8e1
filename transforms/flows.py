"""Accepted batches to enriched flows, and enriched flows to parts of windows.

In: batches that their lane's log accepted, each with the mark and the frontier that it is judged by. Out: enriched flows for the
raw store, and KV[(lane, window), part] for lane state. Refuses to know where batches come from and who keeps the parts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.timestamp import Timestamp

from columns.arrays import Ints
from columns.enrich import Enricher
from columns.lane import LaidOut, Limits, lay_out_many
from columns.ledger import part_of_judged
from flowpb.flow_batch_pb2 import ExporterReport
from transforms.keys import pack_key, pack_lane

NAMESPACE: Final = "nephrite"
LEDGER: Final = "ledger"
_BUNDLE_FLOWS: Final = 200_000


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


class Enrich(beam.DoFn):
    """AcceptedBatch -> the same with the pipeline's columns; a batch without flows (a heartbeat) ends here."""

    def __init__(self, enricher: Enricher, keep: bool = False) -> None:
        self._enricher, self._keep = enricher, keep
        self._flows = Metrics.counter(NAMESPACE, "pipeline_flows_total")

    def process(self, batch: AcceptedBatch) -> Iterator[AcceptedBatch]:
        """At most one output."""
        if batch.flows.num_rows:
            self._flows.inc(batch.flows.num_rows)
            yield replace(batch, flows=self._enricher.enrich(batch.flows, self._keep))

    def finish_bundle(self) -> None:
        """Counts what enrichment did beside the flows."""
        for name, amount in self._enricher.take_counts().items():
            Metrics.counter(NAMESPACE, name).inc(amount)


class LayOut(beam.DoFn):
    """AcceptedBatch -> KV[key, part]: one part per (lane, window) and bundle, so that elements stay few.

    Tagged LEDGER: KV[key of the lane, part of its ledger], what became of the flows.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: dict[int, list[AcceptedBatch]] = {}
        self._count = 0

    def start_bundle(self) -> None:
        """A bundle starts empty, also when the last one failed."""
        self._waiting, self._count = {}, 0

    def process(self, batch: AcceptedBatch) -> Iterator[Any]:
        """Keeps the batch until the bundle ends or is large."""
        self._waiting.setdefault(batch.lane, []).append(batch)
        self._count += batch.flows.num_rows
        if self._count >= _BUNDLE_FLOWS:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[Any]:
        """Lays out what is left."""
        yield from self._flush()

    def _flush(self) -> Iterator[Any]:
        waiting, self._waiting, self._count = self._waiting, {}, 0
        for lane, batches in waiting.items():
            laid = lay_out_many([(b.flows, b.mark_ms, b.frontier_ms) for b in batches], self._limits)
            count(laid)
            time = Timestamp(micros=max(b.frontier_ms for b in batches) * 1000)
            judged = part_of_judged(laid.judged, [(b.mark_ms, b.frontier_ms) for b in batches])
            yield TaggedOutput(LEDGER, GlobalWindows.windowed_value((pack_lane(lane), judged), time))
            for window_start_ms, part in laid.parts.items():
                yield GlobalWindows.windowed_value((pack_key(lane, window_start_ms), part), time)


def laying_out(limits: Limits) -> beam.ParDo:
    """LayOut as a transform of two outputs: parts of windows, and parts of ledgers."""
    keyed = tuple[bytes, bytes]
    return beam.ParDo(LayOut(limits)).with_output_types(keyed, ledger=keyed).with_outputs(LEDGER, main="parts")


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
