"""Enriched flows as FlowDocuments of OpenNMS, one Kafka message each: what a Nephron or an OpenNMS reads.

In: enriched batches, in the stage that made them. Out: messages, keyed by exporter; a bundle waits for its acknowledgements. One
that fails is repeated, and its messages with it: the format has no identity by which a reader could drop them.
"""

import apache_beam as beam
from apache_beam.metrics import Metrics

from bus.document_topic import DocumentTopic
from bus.kafka_client import KafkaTarget
from common.errors import BusError, StoreError
from transforms.flows import NAMESPACE, AcceptedBatch

_TOPICS: dict[str, DocumentTopic] = {}
"""One client per process and topic."""


class WriteFlowDocuments(beam.DoFn):
    """AcceptedBatch -> messages; raises StoreError unless all are acknowledged."""

    def __init__(self, target: KafkaTarget) -> None:
        self._target = target
        self._written = Metrics.counter(NAMESPACE, "pipeline_flow_documents_total")
        self._count = 0

    def start_bundle(self) -> None:
        """A bundle starts with nothing to wait for, also when the last one failed."""
        self._topic().abandon()
        self._count = 0

    def process(self, batch: AcceptedBatch) -> None:
        """Hands the flows to the client."""
        try:
            self._topic().hand_over(batch.flows)
        except BusError as error:
            raise StoreError(f"flow documents: {error}") from error
        self._count += batch.flows.num_rows

    def finish_bundle(self) -> None:
        """Waits for them."""
        try:
            self._topic().flush()
        except BusError as error:
            raise StoreError(f"flow documents: {error}") from error
        self._written.inc(self._count)

    def _topic(self) -> DocumentTopic:
        key = f"{self._target} {self._target.topic} {sorted(self._target.options.items())}"
        if key not in _TOPICS:
            _TOPICS[key] = DocumentTopic(self._target)
        return _TOPICS[key]
