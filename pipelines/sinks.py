"""Where documents of the streaming pipeline go: a Kafka topic of JSON documents, or files of them.

In: Arrow IPC streams of AGGREGATE or LEDGER rows. Out: one JSON document per row, under its id (columns/documents.py and
ledger_table.py). A replay after a failure writes some documents again: readers keep, per id, the one with the most `rows`, or the
largest `version`. A bundle fails when its documents are not acknowledged, so nothing is lost.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam
import orjson
import pyarrow as pa
from kafka import KafkaProducer
from kafka.errors import KafkaError

from columns.documents import ids_of, to_json
from columns.ledger_table import ledger_ids, ledger_json
from common.errors import StoreError
from stores.parquet.layout import sync


def rows_of(stream: bytes) -> pa.Table:
    """The table in an Arrow IPC stream."""
    with pa.ipc.open_stream(stream) as reader:
        return reader.read_all()


Keyed = Callable[[pa.Table], list[tuple[str, bytes]]]
"""A table to (id, JSON document) of each row."""


def aggregates(table: pa.Table) -> list[tuple[str, bytes]]:
    """Rows of AGGREGATE."""
    return list(zip(ids_of(table), to_json(table), strict=True))


def ledger_rows(table: pa.Table) -> list[tuple[str, bytes]]:
    """Rows of LEDGER; the newest version of an id has the largest `version`."""
    return list(zip(ledger_ids(table), ledger_json(table), strict=True))


class WriteFiles(beam.DoFn):
    """One file of JSON lines per bundle, complete before it gets its name."""

    def __init__(self, folder: str, keyed: Keyed = aggregates, below: str = "") -> None:
        """Files go to `folder`, which has to be there, or below it."""
        self._folder, self._keyed, self._below = folder, keyed, below
        self._lines: list[bytes] = []

    def start_bundle(self) -> None:
        """A bundle starts empty, also when the last one failed."""
        self._lines = []

    def process(self, stream: bytes) -> None:
        """Keeps the documents until the bundle ends."""
        # the id goes before the first field: taking each document apart would cost more than making it did
        self._lines.extend(b'{"_id":%s,%s' % (orjson.dumps(key), text[1:]) for key, text in self._keyed(rows_of(stream)))

    def finish_bundle(self) -> None:
        """Writes them through to the disk, since the runner's next checkpoint counts on them; raises StoreError."""
        if not self._lines:
            return
        folder = Path(self._folder, self._below)
        name = folder / f"{uuid.uuid4().hex}.ndjson"
        unfinished = name.with_suffix(".tmp")
        try:
            if self._below:
                folder.mkdir(exist_ok=True)
            unfinished.write_bytes(b"\n".join(self._lines) + b"\n")
            sync(unfinished)
            unfinished.replace(name)
            sync(folder)
        except OSError as error:
            raise StoreError(f"{folder}: documents were not taken: {error.strerror or error}") from error


_PRODUCERS: dict[str, KafkaProducer] = {}


class WriteTopic(beam.DoFn):
    """Documents to a Kafka topic, keyed by their id; every bundle waits for its acknowledgements."""

    def __init__(self, servers: str, topic: str, options: Mapping[str, Any] | None = None, keyed: Keyed = aggregates) -> None:
        self._servers, self._topic, self._options, self._keyed = servers, topic, dict(options or {}), keyed
        self._sent: list[Any] = []

    def start_bundle(self) -> None:
        """A bundle starts with nothing to wait for."""
        self._sent = []

    def process(self, stream: bytes) -> None:
        """Sends; the client batches."""
        with self._located():
            producer = self._producer()
            for key, document in self._keyed(rows_of(stream)):
                self._sent.append(producer.send(self._topic, key=key.encode(), value=document))

    def finish_bundle(self) -> None:
        """Raises StoreError unless every document was acknowledged."""
        if not self._sent:
            return
        with self._located():
            self._producer().flush(60)
            for sent in self._sent:
                sent.get(timeout=60)

    @contextmanager
    def _located(self) -> Iterator[None]:
        try:
            yield
        except (KafkaError, OSError, ValueError, AssertionError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise StoreError(f"kafka {self._servers}, topic {self._topic}: documents were not taken: {reason}") from error

    def _producer(self) -> KafkaProducer:
        if self._servers not in _PRODUCERS:
            _PRODUCERS[self._servers] = KafkaProducer(
                bootstrap_servers=self._servers, acks="all", linger_ms=20, max_block_ms=30_000, **self._options
            )
        return _PRODUCERS[self._servers]
