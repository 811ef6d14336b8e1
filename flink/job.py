"""The aggregation job for Flink: the streaming pipeline over the configured bus, with a sink for its documents.

In: settings and where documents go. Out: a builder for `flink.submit`. Everything in it is found by the workers by import.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam

from bus.contract import Source
from bus.open import open_source
from columns.enrich import Enricher
from common.config import Bus, Settings
from common.errors import ConfigError
from flink.submit import PipelineBuilder
from pipelines.embedded import limits_of
from pipelines.sinks import WriteFiles, WriteTopic
from pipelines.source import FOREVER
from pipelines.streaming import Streaming, build_streaming

_FORMS = "kafka://host:9092,host:9092/topic or a folder"


@dataclass(frozen=True, slots=True)
class Documents:
    """Where documents go: `kafka://host:9092/topic`, or a folder that every worker sees."""

    target: str

    def sink(self) -> beam.DoFn:
        """The sink; raises ConfigError for a target that is neither."""
        if not self.target.startswith("kafka://"):
            return WriteFiles(str(Path(self.target).absolute()))
        servers, _, topic = self.target.removeprefix("kafka://").partition("/")
        if not servers or not topic:
            raise ConfigError([f"--documents {self.target}: expected {_FORMS}"])
        return WriteTopic(servers, topic)


def job_builder(settings: Settings, documents: Documents, stop_offset: int = FOREVER) -> PipelineBuilder:
    """The job over all partitions that the bus has now, from their beginning; raises BusError when it cannot be reached."""
    opener = functools.partial(open_bus, settings.bus, settings.data_dir)
    source = opener()
    try:
        partitions = source.partitions
    finally:
        source.close()
    ranges = tuple((partition, 0, stop_offset) for partition in range(partitions))
    job = Streaming(settings.bus.url, opener, ranges, settings.bus.lanes, Enricher.default(), limits_of(settings.pipeline))
    return functools.partial(build_streaming, job=job, sink=documents.sink())


def open_bus(bus: Bus, data_dir: str) -> Source:
    """The reading end of the bus, in whichever process asks."""
    return open_source(bus, Path(data_dir))
