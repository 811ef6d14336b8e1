"""A topic of one FlowDocument per flow: the writing end, for ingest's copy and the pipeline's output alike.

In: record batches of flows. Out: one Kafka message per flow, key = exporter address, acknowledged when `send` returns. Refuses to
know where flows come from. Every fault is a BusError; what was sent before it may have arrived, and arrives again with the next
try.
"""

from typing import Any, Final

import pyarrow as pa
from kafka.partitioner.default import murmur2
from kafka.producer import KafkaProducer

from bus.kafka_client import KafkaTarget, connect, ensure_topic, located
from common.errors import BusError
from flowpb.document_out import documents_of

_FLUSH_S: Final = 10.0


def place_of(key: bytes, partitions: int) -> int:
    """Where Kafka's clients put a key; theirs is asked for each message anew, and takes a fifth of its time."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


class DocumentTopic:
    """Connects with the first flows, and makes the topic if it is missing."""

    def __init__(self, target: KafkaTarget, flush_s: float = _FLUSH_S) -> None:
        self._target = target
        self._flush_s = flush_s
        self._client: Any = None
        self._sent: list[Any] = []

    def send(self, flows: pa.RecordBatch) -> None:
        """All flows, and wait; raises BusError."""
        self.hand_over(flows)
        self.flush()

    def hand_over(self, flows: pa.RecordBatch) -> None:
        """Give flows to the client; raises BusError."""
        client = self._connected()
        topic = self._target.topic
        with located(self._target, "does not take flow documents"):
            exporters = flows.column("exporter_addr").to_pylist()
            count = len(client.partitions_for(topic))
            places = {exporter: place_of(exporter, count) for exporter in set(exporters)}
            for exporter, document in zip(exporters, documents_of(flows), strict=True):
                self._sent.append(client.send(topic, value=document, key=exporter, partition=places[exporter]))

    def flush(self) -> None:
        """Wait until all is acknowledged; raises BusError for the first that is not."""
        sent, self._sent = self._sent, []
        if not sent:
            return
        with located(self._target, "does not take flow documents"):
            self._client.flush(timeout=self._flush_s)
            for each in sent:
                if not each.is_done:
                    raise BusError(f"{self._target}: flow documents are not acknowledged within {self._flush_s:g} s")
                if each.failed():
                    raise each.exception

    def abandon(self) -> None:
        """Forget what was handed over: a bundle that failed is sent again."""
        self._sent = []

    def close(self) -> None:
        """Let go at once."""
        if self._client is not None:
            self._client.close(timeout=0)
            self._client = None

    def _connected(self) -> Any:
        if self._client is None:
            ensure_topic(self._target)
            self._client = connect(KafkaProducer, self._target, {"linger_ms": 20, "batch_size": 1 << 18}, {"acks": "all"})
        return self._client
