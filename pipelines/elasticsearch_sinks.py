"""Where documents of the streaming pipeline go in the full form: Elasticsearch, raw flows and aggregates.

In: enriched batches, in the stage that made them; Arrow IPC streams of AGGREGATE rows. Out: documents in the server. A bundle ends
when the server has all of its documents, or a dead letter for those that it refuses; else it fails, and the runner repeats it: ids
and versions make that harmless.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics

from columns.documents import ids_of, to_json
from columns.late import Missing, missing
from columns.ledger_table import ledger_ids, ledger_json
from pipelines.sinks import rows_of
from stores.elasticsearch.aggregates import aggregate_documents
from stores.elasticsearch.bulk import Bulk, Tallies
from stores.elasticsearch.client import Client
from stores.elasticsearch.dead_letters import burial
from stores.elasticsearch.documents import Documents
from stores.elasticsearch.ledger import ledger_documents
from stores.elasticsearch.partials import partial_documents
from stores.elasticsearch.raw import CHUNK, raw_documents
from stores.elasticsearch.repairs import repair_documents
from stores.elasticsearch.setup import require_templates
from stores.elasticsearch.target import Target
from transforms.flows import NAMESPACE, AcceptedBatch

_COUNTED: Final = {
    "conflicts": "store_conflicts_total",
    "dead_letters": "store_dead_letters_total",
    "requests": "store_requests_total",
    "repeats": "store_repeats_total",
    "bytes": "store_bytes_total",
}
_CLIENTS: dict[Target, Client] = {}


class _Write(beam.DoFn):
    """One stream of bulk requests per instance; clients are shared in a process.

    The server is asked first when there is something to write, not at set-up: a runner on Flink waits for three minutes for a
    worker whose set-up failed, in each attempt, while a failed bundle is told at once.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._bulk: Bulk | None = None
        self._counters = {name: Metrics.counter(NAMESPACE, metric) for name, metric in _COUNTED.items()}
        self._seen = Tallies()

    def teardown(self) -> None:
        """Ends it."""
        if self._bulk:
            self._bulk.close()

    def start_bundle(self) -> None:
        """A bundle starts with nothing on its way, also when the last one failed."""
        if self._bulk:
            self._bulk.abandon()

    def finish_bundle(self) -> None:
        """Raises StoreError unless the server has everything."""
        if self._bulk:
            self._bulk.flush()
            self._count(self._bulk)

    def _send(self, documents: Sequence[Documents]) -> None:
        for each in documents:
            self._stream().add(each)

    def _count(self, bulk: Bulk) -> None:
        tallies = bulk.tallies.minus(Tallies())
        new = tallies.minus(self._seen)
        self._seen = tallies
        for name, counter in self._counters.items():
            counter.inc(getattr(new, name))

    def _stream(self) -> Bulk:
        """The stream, opened by the first who asks; raises StoreError where the server does not answer or was not set up."""
        if self._bulk is None:
            client = _CLIENTS.get(self._target) or _CLIENTS.setdefault(self._target, Client.open(self._target))
            require_templates(client)
            self._bulk = Bulk(client, burial(client))
            self._seen = Tallies()
        return self._bulk


class WriteRawDocuments(_Write):
    """AcceptedBatch -> raw documents; those of a large bundle are on their way while it goes on."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._waiting: list[AcceptedBatch] = []
        self._flows = 0
        self._documents = Metrics.counter(NAMESPACE, "pipeline_raw_documents_total")

    def start_bundle(self) -> None:
        """A bundle starts empty, also when the last one failed."""
        super().start_bundle()
        self._waiting, self._flows = [], 0

    def process(self, batch: AcceptedBatch) -> None:
        """Keeps the batch until there are enough flows, which makes each cheaper."""
        self._waiting.append(batch)
        self._flows += batch.flows.num_rows
        if self._flows >= CHUNK:
            self._write()

    def finish_bundle(self) -> None:
        """Writes what is left and waits for all of it."""
        self._write()
        super().finish_bundle()

    def _write(self) -> None:
        waiting, self._waiting, self._flows = self._waiting, [], 0
        self._documents.inc(sum(batch.flows.num_rows for batch in waiting))
        self._send(raw_documents(self._target, waiting))


class WriteLate(_Write):
    """AcceptedBatch -> what its late flows leave open, for the queue of repairs; nothing for nearly all batches."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._late: list[tuple[AcceptedBatch, Mapping[int, Missing]]] = []

    def start_bundle(self) -> None:
        """A bundle starts empty, also when the last one failed."""
        super().start_bundle()
        self._late = []

    def process(self, batch: AcceptedBatch) -> None:
        """Keeps what is open until the bundle ends."""
        if lacking := missing(batch.flows, batch.mark_ms, batch.frontier_ms):
            self._late.append((replace(batch, flows=batch.flows.slice(0, 0)), lacking))

    def finish_bundle(self) -> None:
        """Writes it and waits."""
        self._send(repair_documents(self._target.prefix, self._late))
        super().finish_bundle()


class WriteAggregateDocuments(_Write):
    """Arrow IPC streams of AGGREGATE rows -> aggregate documents, newer versions over older ones."""

    def process(self, stream: bytes) -> None:
        """Sends the documents of a window's mark."""
        table = rows_of(stream)
        self._send(aggregate_documents(self._target.prefix, table, ids_of(table), to_json(table)))


class WriteLedgerDocuments(_Write):
    """Arrow IPC streams of LEDGER rows -> documents of the ledger, newer versions over older ones."""

    def process(self, stream: bytes) -> None:
        """Sends the rows of a lane's minutes."""
        table = rows_of(stream)
        self._send(ledger_documents(self._target.prefix, table, ledger_ids(table), ledger_json(table)))


def spelled(documents: pa.Table, level: str) -> tuple[list[str], list[bytes]]:
    """Ids and JSON of aggregates of a level."""
    return ids_of(documents, level), to_json(documents)


class WritePartials(_Write):
    """Arrow IPC streams of flowpb.partials -> documents of partials, which `nephrite rollup` makes hours of."""

    def process(self, stream: bytes) -> None:
        """Sends the partial of a window."""
        self._send(partial_documents(self._target.prefix, rows_of(stream)))
