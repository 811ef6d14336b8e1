"""The interop topic: every flow as one FlowDocument of OpenNMS, beside the bus.

In: record batches of the decoding thread. Out: one Kafka message per flow, key = exporter address, by a thread of its own. It is a
copy for others: what cannot be sent in time is skipped and counted, and never holds up the bus.
"""

import logging
import threading
from collections import Counter, deque
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from bus.open import parse_url
from common.config import Settings
from common.errors import BusError, ConfigError
from common.logs import Limited
from flowpb.document_out import documents_of

_WAITING_FLOWS: Final = 500_000
_RETRY_S: Final = 5.0
_FLUSH_S: Final = 10.0
_log = Limited(logging.getLogger(__name__))


class FlowDocumentSender:
    """Call it with flows. `totals` (sent, skipped, failed) only rise. Raises ConfigError for a URL that is not Kafka's."""

    def __init__(self, settings: Settings) -> None:
        from bus.kafka_client import KafkaTarget

        target = parse_url(settings.ingest.flow_documents, Path(settings.data_dir))
        if not isinstance(target, KafkaTarget):
            raise ConfigError(["ingest.flow_documents: it must be kafka://host:9092/topic"])
        self._target = target
        self._client: Any = None
        self._waiting: deque[pa.RecordBatch] = deque()
        self._waiting_flows = 0
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nephrite-interop", daemon=True)
        self.totals: Counter[str] = Counter()

    def __call__(self, flows: pa.RecordBatch) -> None:
        """Take flows, or skip them while too many wait."""
        with self._changed:
            if self._waiting_flows + flows.num_rows > _WAITING_FLOWS:
                self.totals["skipped"] += flows.num_rows
                return
            self._waiting.append(flows)
            self._waiting_flows += flows.num_rows
            self._changed.notify()

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send what waits, as far as Kafka takes it at once."""
        self._stopping.set()
        with self._changed:
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (flows := self._next()) is not None:
            try:
                self._send(flows)
            except BusError as error:
                self.totals["failed"] += flows.num_rows
                _log.warning("interop", f"flow documents are not sent: {error}")
                self._stopping.wait(_RETRY_S)
        if self._client is not None:
            self._client.close(timeout=0)

    def _next(self) -> pa.RecordBatch | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping.is_set() or bool(self._waiting))
            if not self._waiting:
                return None
            flows = self._waiting.popleft()
            self._waiting_flows -= flows.num_rows
            return flows

    def _send(self, flows: pa.RecordBatch) -> None:
        from bus.kafka_client import located

        client = self._connected()
        exporters = flows.column("exporter_addr").to_pylist()
        with located(self._target, "does not take flow documents"):
            for exporter, document in zip(exporters, documents_of(flows), strict=True):
                client.send(self._target.topic, value=document, key=exporter)
            client.flush(timeout=_FLUSH_S)
        self.totals["sent"] += flows.num_rows

    def _connected(self) -> Any:
        if self._client is None:
            from kafka.producer import KafkaProducer

            from bus.kafka_client import connect, ensure_topic

            ensure_topic(self._target)
            self._client = connect(KafkaProducer, self._target, {"linger_ms": 20, "batch_size": 1 << 18}, {"acks": "all"})
        return self._client
