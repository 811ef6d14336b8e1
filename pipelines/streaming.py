"""The pipeline as a diagram, endless, for Flink and other streaming runners.

    partitions -> accepted batches -> enriched flows -> parts -> by (lane, window) -> lane state -> documents, partials
                                   |                |                                     \\-> by window -> wide state -> documents
                                   |                |\\-> raw documents, in the same stage
                                   |                \\-> what became of flows -> by lane -> ledger -> its rows
                                   \\-> reports, the same way

Stages have stable names: a savepoint finds its state by them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import apache_beam as beam

from bus.contract import Source
from bus.kafka_client import KafkaTarget
from columns.enrich import Enricher
from columns.lane import Limits
from pipelines.document_sink import WriteFlowDocuments
from pipelines.series_sink import Receiver, WriteSeries
from pipelines.source import ReadBus
from transforms.flows import AcceptedBatch, Enrich, laying_out
from transforms.lane_state import CONTRIBUTIONS, DOCUMENTS, PARTIALS, SERIES, LaneState
from transforms.ledger import KeepLedger, TakeReports
from transforms.wide_state import WideState


@dataclass(frozen=True, slots=True)
class Streaming:
    """What one job reads and how; `elements` as pipelines.source.pack_element makes them."""

    name: str
    opener: Callable[[], Source]
    elements: Sequence[bytes]
    lanes: int
    enricher: Enricher
    limits: Limits
    documents: bool = False
    """Whether the source has FlowDocuments instead of batches."""
    flow_documents: KafkaTarget | None = None
    """The topic that gets every enriched flow."""
    series: tuple[Receiver, ...] = ()
    wide: bool = True


def build_streaming(
    pipeline: beam.Pipeline,
    job: Streaming,
    sink: beam.DoFn,
    raw: beam.DoFn | None = None,
    ledger: beam.DoFn | None = None,
    late: beam.DoFn | None = None,
    partials: beam.DoFn | None = None,
) -> None:
    """Adds the job's transforms.

    `sink` takes the documents of lane state, `raw` and `late` enriched flows, `ledger` its rows, `partials` what hours are made of.
    """
    batches = (
        pipeline
        | "Partitions" >> beam.Create(list(job.elements), reshuffle=False).with_output_types(bytes)
        | "Read" >> beam.ParDo(ReadBus(job.name, job.opener, job.lanes, documents=job.documents)).with_output_types(AcceptedBatch)
    )
    flows = batches | "Enrich" >> beam.ParDo(Enrich(job.enricher, job.documents)).with_output_types(AcceptedBatch)
    if job.flow_documents:
        flows | "Flow documents" >> beam.ParDo(WriteFlowDocuments(job.flow_documents))
    if raw:
        flows | "Raw documents" >> beam.ParDo(raw)
    if late:
        flows | "Late" >> beam.ParDo(late)
    parts, judged = flows | "Lay out" >> laying_out(job.limits)
    wanted = [*([CONTRIBUTIONS] if job.wide else []), *([PARTIALS] if partials else []), *([SERIES] if job.series else [])]
    state = parts | "Lane state" >> beam.ParDo(LaneState(job.limits, job.enricher, wanted)).with_outputs(*wanted, main=DOCUMENTS)
    state[DOCUMENTS] | "Documents" >> beam.ParDo(sink)
    for receiver in job.series:
        state[SERIES] | f"Series to {receiver.protocol}" >> beam.ParDo(WriteSeries(receiver))
    if partials:
        state[PARTIALS] | "Partials" >> beam.ParDo(partials)
    if ledger:
        reports = batches | "Reports" >> beam.ParDo(TakeReports()).with_output_types(tuple[bytes, bytes])
        (
            (reports, judged)
            | "Parts of ledgers" >> beam.Flatten()
            | "Ledger" >> beam.ParDo(KeepLedger()).with_output_types(bytes)
            | "Rows of the ledger" >> beam.ParDo(ledger)
        )
    if job.wide:
        (
            state[CONTRIBUTIONS]
            | "Contributions" >> beam.Map(pair).with_output_types(tuple[bytes, bytes])
            | "Apart" >> beam.Reshuffle()  # two stateful stages in one would lose timers on the in-process runner
            | "Wide state" >> beam.ParDo(WideState(job.limits, job.enricher)).with_output_types(bytes)
            | "Wide documents" >> beam.ParDo(sink)
        )


def pair(contribution: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """The same, for its type: tagged outputs have none."""
    return contribution
