"""Accepted batches to enriched flows, and enriched flows to parts of windows.

In: batches that their lane's log accepted, each with the mark and the frontier that it is judged by. Out: enriched flows for the
raw store, and KV[(lane, window), part] for lane state. Refuses to know where batches come from and who keeps the parts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from columns.enrich import Enricher
from columns.lane import LaidOut, Limits, lay_out_many
from transforms.keys import pack_key

NAMESPACE: Final = "nephrite"
_BUNDLE_FLOWS: Final = 200_000


@dataclass(frozen=True, slots=True)
class AcceptedBatch:
    """One batch of a lane's log that is no repeat; `mark_ms` is clamped, `frontier_ms` the frontier that it raised.

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


class Enrich(beam.DoFn):
    """AcceptedBatch -> the same with the pipeline's columns; a batch without flows (a heartbeat) ends here."""

    def __init__(self, enricher: Enricher) -> None:
        self._enricher = enricher
        self._flows = Metrics.counter(NAMESPACE, "pipeline_flows_total")

    def process(self, batch: AcceptedBatch) -> Iterator[AcceptedBatch]:
        """At most one output."""
        if batch.flows.num_rows:
            self._flows.inc(batch.flows.num_rows)
            yield replace(batch, flows=self._enricher.enrich(batch.flows))

    def finish_bundle(self) -> None:
        """Counts what enrichment did beside the flows."""
        for name, amount in self._enricher.take_counts().items():
            Metrics.counter(NAMESPACE, name).inc(amount)


class LayOut(beam.DoFn):
    """AcceptedBatch -> KV[key, part]: one part per (lane, window) and bundle, so that elements stay few."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: dict[int, list[AcceptedBatch]] = {}
        self._count = 0

    def start_bundle(self) -> None:
        """A bundle starts empty, also when the last one failed."""
        self._waiting, self._count = {}, 0

    def process(self, batch: AcceptedBatch) -> Iterator[WindowedValue]:
        """Keeps the batch until the bundle ends or is large."""
        self._waiting.setdefault(batch.lane, []).append(batch)
        self._count += batch.flows.num_rows
        if self._count >= _BUNDLE_FLOWS:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Lays out what is left."""
        yield from self._flush()

    def _flush(self) -> Iterator[WindowedValue]:
        waiting, self._waiting, self._count = self._waiting, {}, 0
        for lane, batches in waiting.items():
            laid = lay_out_many([(b.flows, b.mark_ms, b.frontier_ms) for b in batches], self._limits)
            count(laid)
            time = Timestamp(micros=max(b.frontier_ms for b in batches) * 1000)
            for window_start_ms, part in laid.parts.items():
                yield GlobalWindows.windowed_value((pack_key(lane, window_start_ms), part), time)


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
