"""The aggregation job for Flink: the streaming pipeline over the configured bus, with a sink for its documents.

In: settings and where documents go. Out: a builder for `flink.submit`. Everything in it is found by the workers by import.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam

from bus.contract import Source
from bus.open import open_source
from common.clock import wall_clock
from common.config import Bus, Settings
from common.errors import ConfigError
from common.start import parse_start
from flink.submit import PipelineBuilder
from flink.subtasks import salt_into, spread_group
from pipelines.elasticsearch_sinks import (
    WriteAggregateDocuments,
    WriteLate,
    WriteLedgerDocuments,
    WritePartials,
    WriteRawDocuments,
)
from pipelines.embedded import document_target, enricher_of, limits_of, open_reading
from pipelines.ranges import bounds_of, first_offset
from pipelines.series_sink import receivers_of
from pipelines.sinks import WriteFiles, WriteTopic, ledger_rows
from pipelines.source import FOREVER, pack_element
from pipelines.streaming import Streaming, build_streaming
from stores.elasticsearch.target import SCHEME, Target

_FORMS = "kafka://host:9092,host:9092/topic, elasticsearch://host:9200?option=value or a folder"


@dataclass(frozen=True, slots=True)
class Documents:
    """Where documents go: `kafka://host:9092/topic`, `elasticsearch://host:9200`, or a folder that every worker sees."""

    target: str

    def sink(self) -> beam.DoFn:
        """The sink of aggregates; raises ConfigError for a target that is none of these."""
        if self.target.startswith(SCHEME):
            return WriteAggregateDocuments(Target.parse(self.target))
        if not self.target.startswith("kafka://"):
            return WriteFiles(str(Path(self.target).absolute()))
        servers, _, topic = self.target.removeprefix("kafka://").partition("/")
        if not servers or not topic:
            raise ConfigError([f"--documents {self.target}: expected {_FORMS}"])
        return WriteTopic(servers, topic)

    def ledger_sink(self) -> beam.DoFn:
        """The sink of the ledger, beside the aggregates: indices, folder `ledger`, or the topic's name with `-ledger`."""
        if self.target.startswith(SCHEME):
            return WriteLedgerDocuments(Target.parse(self.target))
        if not self.target.startswith("kafka://"):
            return WriteFiles(str(Path(self.target).absolute()), ledger_rows, "ledger")
        servers, _, topic = self.target.removeprefix("kafka://").partition("/")
        return WriteTopic(servers, f"{topic}-ledger", keyed=ledger_rows)

    def raw_sink(self) -> beam.DoFn | None:
        """The sink of raw flows, where the target takes them; raises ConfigError."""
        if not self.target.startswith(SCHEME):
            return None
        target = Target.parse(self.target)
        return WriteRawDocuments(target) if target.raw else None

    def late_sink(self) -> beam.DoFn | None:
        """The sink of what came too late, where the target has a queue of repairs; raises ConfigError."""
        return WriteLate(Target.parse(self.target)) if self.target.startswith(SCHEME) else None

    def partials_sink(self) -> beam.DoFn | None:
        """The sink of partials, where the target keeps them; raises ConfigError."""
        return WritePartials(Target.parse(self.target)) if self.target.startswith(SCHEME) else None


def job_builder(settings: Settings, documents: Documents, span: tuple[int, int] | None = None) -> PipelineBuilder:
    """The job over all partitions, those that are added later too, from `pipeline.start` on; or over a range of time that ends.

    Raises BusError when it cannot be reached, ConfigError for a bus that is not Kafka: a spool forgets what was read, and a job
    that goes back to its last checkpoint reads again.
    """
    if not settings.bus.url.startswith("kafka:") and not settings.pipeline.flow_documents_in:
        raise ConfigError([f"bus.url {settings.bus.url}: a job on Flink reads from kafka://host:9092/topic"])
    opener = functools.partial(open_reading, settings)
    source = opener()
    try:
        elements = tuple(_elements(source, settings, span))
    finally:
        source.close()
    return builder_over(settings, documents, opener, elements)


def builder_over(
    settings: Settings, documents: Documents, opener: Callable[[], Source], elements: Sequence[bytes]
) -> PipelineBuilder:
    """The job over these elements of the source that `opener` opens in whichever process asks."""
    enricher, limits = enricher_of(settings.enrichment), limits_of(settings.pipeline)
    documents_in = settings.pipeline.flow_documents_in
    documents_out = document_target(settings, "flow_documents_out")
    name = documents_in or settings.bus.url
    receivers = receivers_of(settings.series)
    lanes, read, wide = settings.bus.lanes, bool(documents_in), settings.pipeline.wide
    job = Streaming(name, opener, elements, lanes, enricher, limits, read, documents_out, receivers, wide)
    raw = documents.raw_sink() if settings.pipeline.raw else None
    sinks = {"ledger": documents.ledger_sink(), "late": documents.late_sink(), "partials": documents.partials_sink()}
    return functools.partial(build_streaming, job=job, sink=documents.sink(), raw=raw, **sinks)


def _elements(source: Source, settings: Settings, span: tuple[int, int] | None) -> Iterator[bytes]:
    partitions = source.partitions
    start = parse_start(settings.pipeline.start, wall_clock())
    bounds = None if span is None else bounds_of(source, *span)
    for partition in range(partitions):
        first = first_offset(source, partition, start) if bounds is None else bounds[partition][0]
        behind, stride = (FOREVER, partitions) if bounds is None else (bounds[partition][1], 0)
        yield element_of(partition, first, behind, stride)


def element_of(partition: int, first: int = 0, behind: int = FOREVER, stride: int = 0) -> bytes:
    """The element of a partition, salted so that subtasks get equal shares of partitions, however many subtasks there are."""

    def salted(salt: int) -> bytes:
        return pack_element(partition, first, behind, salt, stride)

    return salted(salt_into(spread_group(partition), salted))


def open_bus(bus: Bus, data_dir: str) -> Source:
    """The reading end of the bus, in whichever process asks."""
    return open_source(bus, Path(data_dir))
