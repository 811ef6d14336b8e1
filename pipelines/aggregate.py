"""The pipeline as a diagram, for micro-batch runs on the in-process runner.

lanes -> accepted batches -> enriched flows -> raw files
                         |                |\\-> what came too late, to the queue of repairs
                         |                \\-> parts -> by (lane, window) -> lane state -> aggregate files
                         \\-> reports, and what became of flows -> the run's parts of ledgers

Each stage of Beam costs milliseconds in every run, whatever goes through it; so there are three, cut by the two groupings by key,
and what else begins or ends in a run rides in one of them.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from columns.enrich import Enricher
from columns.lane import Limits
from columns.late import missing
from pipelines.handover import look, look_wide, take
from stores.parquet.writer import write_aggregates, write_raw
from stores.queued import Late
from transforms.carried_state import AbsorbRun, Stepped
from transforms.carried_wide import SteppedWide, WideRun
from transforms.flows import AcceptedBatch, Enrich, laying_out
from transforms.in_place import KnownDoFn
from transforms.keys import pack_key, pack_window, unpack_lane
from transforms.ledger import TakeReports

if TYPE_CHECKING:
    from bus.kafka_client import KafkaTarget
    from pipelines.series_sink import Receiver


class WriteRaw(KnownDoFn):
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


class NoteLate(KnownDoFn):
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


class WriteAggregates(KnownDoFn):
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


class NoteLedger(KnownDoFn):
    """KV[lane, part] -> the run's parts of ledgers; the driver steps them, since they are one per lane."""

    def __init__(self, token: str) -> None:
        self._token = token

    def process(self, keyed: tuple[bytes, bytes]) -> None:
        """Notes it."""
        take(self._token).ledger.setdefault(unpack_lane(keyed[0]), []).append(keyed[1])


class WriteWide(KnownDoFn):
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


class ReadRun(KnownDoFn):
    """Anything -> the batches that the driver accepted for this run, in the order of each lane's log."""

    def __init__(self, token: str) -> None:
        self._token = token

    def process(self, _: bytes) -> Iterator[AcceptedBatch]:
        """All of them."""
        accepted = take(self._token).accepted
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


class Contribute(KnownDoFn):
    """Stepped -> KV[window, what the lane contributes to it at a mark], and for each window that all lanes have passed a mark of
    an empty contribution: there may be no other in this run.
    """

    def __init__(self, token: str) -> None:
        self._token = token

    def process(self, stepped: Stepped) -> Iterator[tuple[bytes, bytes]]:
        """At most one output."""
        if stepped.contribution:
            yield pack_window(stepped.window_start_ms), stepped.contribution

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """The empty ones."""
        for window_start_ms in take(self._token).wide_due:
            yield GlobalWindows.windowed_value((pack_window(window_start_ms), b""), MIN_TIMESTAMP)


def build_run(pipeline: beam.Pipeline, token: str, folder: Path, enricher: Enricher, limits: Limits, outputs: Outputs) -> None:
    """Adds the transforms of a driver's runs to `pipeline`; files go to `folder`, data comes and goes under `token`."""
    batches = pipeline | "Run" >> beam.Impulse() | "Read" >> beam.ParDo(ReadRun(token)).with_output_types(AcceptedBatch)
    flows = batches | "Enrich" >> beam.ParDo(Enrich(enricher, outputs.keep)).with_output_types(AcceptedBatch)
    flows | "Late" >> beam.ParDo(NoteLate(token))
    if outputs.flow_documents:
        from pipelines.document_sink import WriteFlowDocuments  # where no Kafka is named, no client of it is imported

        flows | "Flow documents" >> beam.ParDo(WriteFlowDocuments(outputs.flow_documents))
    if outputs.raw:
        flows | "Raw documents" >> beam.ParDo(WriteRaw(token, folder))
    parts, judged = flows | "Lay out" >> laying_out(limits, partial(due_keys, token))
    reports = batches | "Reports" >> beam.ParDo(TakeReports()).with_output_types(tuple[bytes, bytes])
    reports | "Note reports" >> beam.ParDo(NoteLedger(token))
    judged | "Note judged" >> beam.ParDo(NoteLedger(token))
    stepped = (
        parts
        | "By lane and window" >> beam.GroupByKey()
        | "Lane state"
        >> beam.ParDo(AbsorbRun(look, token, limits, enricher, outputs.wide, bool(outputs.series))).with_output_types(Stepped)
    )
    stepped | "Documents" >> beam.ParDo(WriteAggregates(token, folder))
    for receiver in outputs.series:
        from pipelines.series_sink import WriteSeries

        stepped | f"Series to {receiver.protocol}" >> beam.ParDo(WriteSeries(receiver))
    if outputs.wide:
        (
            stepped
            | "Contributions" >> beam.ParDo(Contribute(token)).with_output_types(tuple[bytes, bytes])
            | "By window" >> beam.GroupByKey()
            | "Wide state" >> beam.ParDo(WideRun(look_wide, token, limits, enricher)).with_output_types(SteppedWide)
            | "Wide documents" >> beam.ParDo(WriteWide(token, folder))
        )
