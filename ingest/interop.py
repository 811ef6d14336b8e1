"""The interop topic: every flow as one FlowDocument of OpenNMS, beside the bus.

In: record batches of the decoding thread. Out: one Kafka message per flow, key = exporter address, by a thread of its own. It is a
copy for others: what cannot be sent in time is skipped and counted, and never holds up the bus.
"""

import logging
import threading
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from bus.open import parse_url
from common.config import Settings
from common.errors import BusError, ConfigError
from common.logs import Limited

if TYPE_CHECKING:
    from bus.kafka_client import KafkaTarget

_WAITING_FLOWS: Final = 500_000
_RETRY_S: Final = 5.0
_log = Limited(logging.getLogger(__name__))


def document_target(settings: Settings) -> "KafkaTarget":
    """The topic of FlowDocuments; raises ConfigError for a URL that is not Kafka's."""
    from bus.kafka_client import KafkaTarget

    try:
        target = parse_url(settings.ingest.flow_documents, Path(settings.data_dir))
    except ConfigError as error:
        raise ConfigError([problem.replace("bus.url", "ingest.flow_documents", 1) for problem in error.problems]) from error
    if not isinstance(target, KafkaTarget):
        raise ConfigError(["ingest.flow_documents: it must be kafka://host:9092/topic"])
    return target


class FlowDocumentSender:
    """Call it with flows. `totals` (sent, skipped, failed) only rise. Raises ConfigError for a URL that is not Kafka's."""

    def __init__(self, settings: Settings) -> None:
        from bus.document_topic import DocumentTopic

        self._topic = DocumentTopic(document_target(settings))
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
        self._topic.close()

    def _next(self) -> pa.RecordBatch | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping.is_set() or bool(self._waiting))
            if not self._waiting:
                return None
            flows = self._waiting.popleft()
            self._waiting_flows -= flows.num_rows
            return flows

    def _send(self, flows: pa.RecordBatch) -> None:
        self._topic.send(flows)
        self.totals["sent"] += flows.num_rows
