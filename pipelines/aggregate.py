"""The pipeline as a diagram, for micro-batch runs on the in-process runner.

lanes -> accepted batches -> enriched flows -> raw files
                         |                |\\-> what came too late, to the queue of repairs
                         |                \\-> parts -> by (lane, window) -> lane state -> aggregate files
                         \\-> reports, and what became of flows -> the run's parts of ledgers
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import apache_beam as beam
import pyarrow as pa

from columns.enrich import Enricher
from columns.lane import Limits
from columns.late import missing
from pipelines.handover import look, look_wide, take
from stores.parquet.writer import write_aggregates, write_raw
from stores.queued import Late
from transforms.carried_state import AbsorbRun, Stepped
from transforms.carried_wide import SteppedWide, WideRun
from transforms.flows import AcceptedBatch, Enrich, laying_out
from transforms.keys import pack_key, pack_window, unpack_lane
from transforms.ledger import TakeReports

if TYPE_CHECKING:
    from bus.kafka_client import KafkaTarget
    from pipelines.series_sink import Receiver


class WriteRaw(beam.DoFn):
    """Enriched batches -> one Parquet file of raw flows per bundle, listed in the run."""

    def __init__(self, token: str, folder: Path) -> None:
        self._token, self._folder = token, folder
        self._flows: list[AcceptedBatch] = []

    def start_bundle(self) -> None:
        """A bundle starts empty, also when the last one failed."""
        self._flows = []

    def process(self, batch: AcceptedBatch) -> None:
        """Keeps the flows until the bundle ends."""
        self._flows.append(batch)

    def finish_bundle(self) -> None:
        """Writes them."""
        if self._flows:
            take(self._token).files.extend(write_raw(self._folder, self._flows))


class NoteLate(beam.DoFn):
    """Batches -> the run's account of what windows miss because it came too late."""

    def __init__(self, token: str) -> None:
        self._token = token

    def process(self, batch: AcceptedBatch) -> None:
        """Adds what this batch has of it."""
        noted = take(self._token).late
        for window_start_ms, lacking in missing(batch.flows, batch.mark_ms, batch.frontier_ms).items():
            key = batch.lane, window_start_ms
            late = Late(*lacking, batch.frontier_ms, batch.offset)
            noted[key] = noted[key].plus(late) if key in noted else late


class WriteAggregates(beam.DoFn):
    """Stepped -> the run's list of steps, and one Parquet file of all their documents."""

    def __init__(self, token: str, folder: Path) -> None:
        self._token, self._folder = token, folder
        self._tables: list[pa.Table] = []

    def start_bundle(self) -> None:
        """A bundle starts empty, also when the last one failed."""
        self._tables = []

    def process(self, stepped: Stepped) -> None:
        """Notes the step and keeps its documents until the bundle ends."""
        take(self._token).stepped.append(stepped)
        self._tables.extend(stepped.documents)

    def finish_bundle(self) -> None:
        """Writes them."""
        if self._tables:
            take(self._token).files.extend(write_aggregates(self._folder, pa.concat_tables(self._tables)))


class NoteLedger(beam.DoFn):
    """KV[lane, part] -> the run's parts of ledgers; the driver steps them, since they are one per lane."""

    def __init__(self, token: str) -> None:
        self._token = token

    def process(self, keyed: tuple[bytes, bytes]) -> None:
        """Notes it."""
        take(self._token).ledger.setdefault(unpack_lane(keyed[0]), []).append(keyed[1])


class WriteWide(beam.DoFn):
    """SteppedWide -> the run's list of steps, and one Parquet file of all their documents."""

    def __init__(self, token: str, folder: Path) -> None:
        self._token, self._folder = token, folder
        self._tables: list[pa.Table] = []

    def start_bundle(self) -> None:
        """A bundle starts empty, also when the last one failed."""
        self._tables = []

    def process(self, stepped: SteppedWide) -> None:
        """Notes the step and keeps its documents until the bundle ends."""
        take(self._token).stepped_wide.append(stepped)
        self._tables.extend(stepped.documents)

    def finish_bundle(self) -> None:
        """Writes them."""
        if self._tables:
            take(self._token).files.extend(write_aggregates(self._folder, pa.concat_tables(self._tables)))


def accepted_batches(token: str) -> Iterator[AcceptedBatch]:
    """The batches that the driver accepted for this run, in the order of each lane's log."""
    accepted = take(token).accepted
    return itertools.chain.from_iterable(accepted[lane] for lane in sorted(accepted))


def due_keys(token: str) -> Iterator[tuple[bytes, bytes]]:
    """Keys of windows that a mark is due for, with an empty part: they may get no flows in this run."""
    return ((pack_key(lane, window_start_ms), b"") for lane, window_start_ms in take(token).due)


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a run writes beside aggregates. `keep` keeps what flows bring of the pipeline's own columns.

    With `wide` location and system scope are put together behind lane state.
    """

    raw: bool = True
    flow_documents: "KafkaTarget | None" = None
    keep: bool = False
    series: tuple["Receiver", ...] = ()
    wide: bool = True


def contributed(stepped: Stepped) -> Iterator[tuple[bytes, bytes]]:
    """What a lane contributes to a window at a mark."""
    if stepped.contribution:
        yield pack_window(stepped.window_start_ms), stepped.contribution


def due_windows(token: str) -> Iterator[tuple[bytes, bytes]]:
    """Keys of windows that all lanes have passed a mark of, with an empty contribution."""
    return ((pack_window(window_start_ms), b"") for window_start_ms in take(token).wide_due)


def build_run(pipeline: beam.Pipeline, token: str, folder: Path, enricher: Enricher, limits: Limits, outputs: Outputs) -> None:
    """Adds the transforms of a driver's runs to `pipeline`; files go to `folder`, data comes and goes under `token`."""
    batches = pipeline | "Run" >> beam.Impulse() | "Read" >> beam.FlatMap(lambda _: accepted_batches(token))
    flows = batches | "Enrich" >> beam.ParDo(Enrich(enricher, outputs.keep))
    flows | "Late" >> beam.ParDo(NoteLate(token))
    if outputs.flow_documents:
        from pipelines.document_sink import WriteFlowDocuments  # where no Kafka is named, no client of it is imported

        flows | "Flow documents" >> beam.ParDo(WriteFlowDocuments(outputs.flow_documents))
    if outputs.raw:
        flows | "Raw documents" >> beam.ParDo(WriteRaw(token, folder))
    parts, judged = flows | "Lay out" >> laying_out(limits)
    reports = batches | "Reports" >> beam.ParDo(TakeReports()).with_output_types(tuple[bytes, bytes])
    (reports, judged) | "Ledgers" >> beam.Flatten() | "Note" >> beam.ParDo(NoteLedger(token))
    due = (
        pipeline
        | "Marks" >> beam.Impulse()
        | "Due" >> beam.FlatMap(lambda _: due_keys(token)).with_output_types(tuple[bytes, bytes])
    )
    stepped = (
        (parts, due)
        | beam.Flatten()
        | "By lane and window" >> beam.GroupByKey()
        | "Lane state" >> beam.ParDo(AbsorbRun(look, token, limits, enricher, outputs.wide))
    )
    stepped | "Documents" >> beam.ParDo(WriteAggregates(token, folder))
    for receiver in outputs.series:
        from pipelines.series_sink import WriteSeries

        stepped | f"Series to {receiver.protocol}" >> beam.ParDo(WriteSeries(receiver))
    if outputs.wide:
        _put_together(pipeline, stepped, token, folder, enricher, limits)


def _put_together(
    pipeline: beam.Pipeline, stepped: beam.PCollection, token: str, folder: Path, enricher: Enricher, limits: Limits
) -> None:
    """Adds the second stage: location and system scope."""
    contributions = stepped | "Contributions" >> beam.FlatMap(contributed).with_output_types(tuple[bytes, bytes])
    passed = (
        pipeline
        | "Wide marks" >> beam.Impulse()
        | "Passed" >> beam.FlatMap(lambda _: due_windows(token)).with_output_types(tuple[bytes, bytes])
    )
    (
        (contributions, passed)
        | "Wide" >> beam.Flatten()
        | "By window" >> beam.GroupByKey()
        | "Wide state" >> beam.ParDo(WideRun(look_wide, token, limits, enricher))
        | "Wide documents" >> beam.ParDo(WriteWide(token, folder))
    )
