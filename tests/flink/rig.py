"""The whole line on real parts, kept running through one fault after another: Kafka -> Flink -> Elasticsearch.

Each fault has a segment of virtual time with traffic of its own, behind all earlier ones by more than a lease, in one and the
same job. After each, all documents of all segments equal the oracle's, so what a fault breaks of earlier ones is seen, too.
The oracle gets what the topic has, with the broker's append times. Virtual time is long past, where those do not matter; a segment
whose clocks are to be judged by them takes place now, and is the last.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from bus.contract import partition_of
from bus.kafka_client import KafkaTarget
from bus.lane_map import home_partitions
from common.config import Bus, Pipeline, Series, Settings
from flink.job import Documents, job_builder
from flink.rest import JobId
from flink.submit import FlinkOptions, submit
from flink.succession import Succession, succeed, wait_until_it_runs
from flowpb.codec import Header, decode_header, encode
from flowpb.ledger import LEDGER
from ingest.loadgen.batches import BusEntry
from ingest.loadgen.compare import differences
from ingest.loadgen.expected import Answer, Oracle
from stores.elasticsearch.client import Client
from stores.elasticsearch.layout import AGGREGATES, DEAD_LETTERS
from stores.elasticsearch.layout import LEDGER as LEDGER_INDEX
from stores.elasticsearch.setup import install
from stores.elasticsearch.target import Target
from tests.ledger.collected import newest_rows
from tests.pipelines.line import LANES, START_MS, expected_documents, newest
from tests.servers.elasticsearch import ElasticsearchServer
from tests.servers.flink import FlinkCluster
from tests.servers.kafka import KafkaServer
from tests.stores.stores import wipe
from tests.stores_elasticsearch.stored import aggregate_rows, count_of, hits, raw_count

PARTITIONS: Final = 4
GAP_MS: Final = 20 * 60_000
"""Between the end of a segment and the next: longer than a lease, and than any flow."""
LEASE_MS: Final = 15 * 60_000
"""Longer than a lease, and shorter than the gap between two segments."""
EXACT: Final = Pipeline(candidates_young=1 << 20, candidates_old=1 << 20)
HOLD: Final = {"retention.ms": "-1", "message.timestamp.type": "LogAppendTime"}
DEADLINE_S: Final = 180.0
NO_JOB: Final = JobId("")


@dataclass(slots=True)
class Rig:
    """A running job and what its documents have to be; `retry_s` is how long its sink tries before a bundle fails."""

    kafka: KafkaServer
    cluster: FlinkCluster
    elasticsearch: ElasticsearchServer
    data_dir: Path
    retry_s: int = 4
    deadline_s: float = DEADLINE_S
    series: Series = field(default_factory=Series)
    topic: str = ""
    job: JobId = NO_JOB
    parallelism: int = 1
    now_ms: int = START_MS
    settled: int = 0
    met: list[str] = field(default_factory=list)
    """Names of the faults so far."""
    oracle: Oracle = field(default_factory=Oracle)
    flows: dict[tuple[str, int, int, int], int] = field(default_factory=dict)
    taken: list[tuple[bytes, int]] = field(default_factory=list)
    """All entries of the topic and when it took them, each lane's in its order."""
    grown: Mapping[int, int] = field(default_factory=dict)
    """Partitions of lanes that were moved to one that was added."""
    _read: dict[int, int] = field(default_factory=dict)
    _client: Client | None = None

    @property
    def client(self) -> Client:
        """Of the store, under the rig's own prefix."""
        assert self._client is not None, "not begun"
        return self._client

    @property
    def settings(self) -> Settings:
        """Of the job."""
        bus = Bus(url=f"kafka://{self.kafka.bootstrap}/{self.topic}")
        return Settings(pipeline=EXACT, bus=bus, series=self.series, data_dir=str(self.data_dir))

    @property
    def documents(self) -> Documents:
        """Where the job writes."""
        where = f"127.0.0.1:{self.elasticsearch.port}?prefix={self.client.target.prefix}"
        return Documents(f"elasticsearch://{where}&profile=opennms&replicas=false&retry_s={self.retry_s}")

    def options(self, parallelism: int) -> FlinkOptions:
        """How the job runs: a worker for each subtask, and none that nothing depends on."""
        return self.cluster.options(parallelism=parallelism, sdk_worker_parallelism=parallelism, job_name="faults")

    def begin(self) -> None:
        """A topic where every lane was heard once, a store that is set up, and the job on one subtask."""
        self.topic = self.kafka.new_topic(PARTITIONS, HOLD)
        home_partitions(KafkaTarget((self.kafka.bootstrap,), self.topic), PARTITIONS)  # as the first collector does
        place = f"elasticsearch://127.0.0.1:{self.elasticsearch.port}"
        self._client = Client.open(Target.parse(f"{place}?prefix={self.elasticsearch.new_prefix()}&replicas=false"))
        list(install(self.client, {}))
        self.produce(self.closing())
        self.job = submit(job_builder(self.settings, self.documents), self.options(self.parallelism))
        wait_until_it_runs(self.cluster.rest, self.job)

    def end(self) -> None:
        """No job, no documents."""
        if self.job:
            self.cluster.cancel(self.job)
        if self._client:
            wipe(self._client)

    def closing(self) -> list[BusEntry]:
        """An empty batch of every lane at the end of a segment: whoever was silent does not hold the others' windows open."""
        return heartbeats({"clock": 0}, self.now_ms)

    def segment(self, make: Callable[[int], list[BusEntry]]) -> list[BusEntry]:
        """What `make` gives for a start time, with its end."""
        entries = make(self.now_ms + GAP_MS)
        self.now_ms = max(entry.append_ms for entry in entries) + 1_000
        return entries + self.closing()

    def produce(self, entries: Sequence[BusEntry]) -> None:
        """Puts entries on the topic; returns when all are acknowledged."""
        producer = KafkaProducer(bootstrap_servers=self.kafka.bootstrap, acks="all", max_block_ms=60_000)
        try:
            sent = [
                producer.send(
                    self.topic,
                    entry.value,
                    key=entry.lane.to_bytes(4, "big"),
                    partition=self.grown.get(entry.lane, partition_of(entry.lane, PARTITIONS)),
                )
                for entry in entries
            ]
            for each in sent:
                each.get(timeout=60)
        finally:
            producer.close(timeout=5)

    def answer(self) -> Answer:
        """What the oracle says to all that the topic has."""
        partitions = sorted({*range(PARTITIONS), *self.grown.values()})
        names = [TopicPartition(self.topic, partition) for partition in partitions]
        consumer = KafkaConsumer(bootstrap_servers=self.kafka.bootstrap, group_id=None, enable_auto_commit=False)
        try:
            consumer.assign(names)
            ends = consumer.end_offsets(names)
            for name in names:
                consumer.seek(name, self._read.get(name.partition, 0))
            while any(consumer.position(name) < ends[name] for name in names):
                for records in consumer.poll(timeout_ms=500).values():
                    for record in records:
                        self._take(record.value, record.timestamp)
            self._read = {name.partition: consumer.position(name) for name in names}
        finally:
            consumer.close()
        return self.oracle.answer()

    def _take(self, value: bytes, append_ms: int) -> None:
        header = decode_header(value)[0]
        self.oracle.take_entry(value, append_ms)
        self.taken.append((value, append_ms))
        self.flows.setdefault((header.collector, header.epoch, header.lane, header.seq), header.flow_count)

    def succeed(self, parallelism: int) -> Succession:
        """The job ends with a savepoint and goes on from it."""
        done = succeed(self.job, job_builder(self.settings, self.documents), self.options(parallelism))
        self.job, self.parallelism = done.job, parallelism
        return done

    def stop(self) -> str:
        """The job ends with a savepoint; returns its path."""
        savepoint = self.cluster.rest.savepoint(self.job, None, cancel=True)
        self.cluster.rest.wait_for(self.job)
        return savepoint

    def resume(self, savepoint: str) -> None:
        """A job goes on from a savepoint."""
        options = replace(self.options(self.parallelism), savepoint=savepoint)
        self.job = submit(job_builder(self.settings, self.documents), options)
        wait_until_it_runs(self.cluster.rest, self.job)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Looks again and again, for as long as the rig waits for anything; a condition that does not come fails the test."""
        until(condition, what, self.deadline_s)

    def raw_count(self) -> int:
        """Raw documents now."""
        return raw_count(self.client)

    def restored(self) -> int:
        """How often the job went back to a checkpoint."""
        return self.cluster.rest.checkpoints(self.job).restored

    def settle(self, beat: Callable[[], None] = lambda: None) -> None:
        """Waits for the oracle's documents and every raw flow once; says what differs when they do not come.

        `beat` is called again and again: time has to go on where it is now.
        """
        answer = self.answer()
        assert len(answer.documents) > self.settled, "a segment without documents proves nothing"
        expected = expected_documents(answer)
        flows = sum(self.flows.values())

        def done() -> bool:
            beat()
            if self.raw_count() != flows or count_of(self.client, AGGREGATES) < len(expected):
                return False  # told at once: reading all documents takes seconds
            return newest(aggregate_rows(self.client)) == expected

        if not reached(done, self.deadline_s, pause_s=1.0):
            reason = self.cluster.rest.root_exception(self.job)[:1000]
            differing = differences(aggregate_rows(self.client), answer)
            raise AssertionError(
                f"after {', '.join(self.met)}: raw {self.raw_count()} of {flows}; documents: {differing}; job: {reason}"
            )
        assert hits(self.client, DEAD_LETTERS, []) == []
        self.settled = len(answer.documents)

    def ledger_rows(self) -> list[dict[str, Any]]:
        """The newest rows of the ledger, from their columns."""
        fields = [{"field": each.json, **({"format": "epoch_millis"} if each.es_type == "date" else {})} for each in LEDGER]
        found = []
        for hit in hits(self.client, LEDGER_INDEX, fields):
            values = {each.name: hit["fields"].get(each.json, [None])[0] for each in LEDGER}
            found.append({name: int(v) if v is not None and name != "exporter_addr" else v for name, v in values.items()})
        return newest_rows(found)

    def settle_ledger(self) -> None:
        """Closes all minutes so far; then the ledger has every flow and every batch once, whatever happened on the way."""
        self.now_ms += LEASE_MS
        self.produce(self.closing())
        counts, flows = self.answer().counts, sum(self.flows.values())
        self.until(lambda: self._booked("flows_received") == flows, f"{flows} flows in the ledger")
        assert self._booked("flows_late") == counts.late
        assert self._booked("clipped_bytes") == counts.clipped_bytes

    def _booked(self, column: str) -> int:
        return sum(row[column] or 0 for row in self.ledger_rows())


def heartbeats(fast_ms: Mapping[str, int], now_ms: int) -> list[BusEntry]:
    """An empty batch of each collector in every lane, by clocks that are so much ahead."""
    headers = (Header(name, now_ms, lane, 0, now_ms + ahead, LANES) for name, ahead in fast_ms.items() for lane in range(LANES))
    return [BusEntry(now_ms, header.lane, encode(header, None)) for header in headers]


def reached(condition: Callable[[], bool], limit_s: float, pause_s: float = 0.2) -> bool:
    """Looks again and again, at most so long; whether the condition came true."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause_s)
    return True


def until(condition: Callable[[], bool], what: str, limit_s: float = DEADLINE_S) -> None:
    """As `reached`; a condition that does not come fails the test."""
    assert reached(condition, limit_s), f"{what}: not within {limit_s:.0f} s"


@contextmanager
def begun(rig: Rig) -> Iterator[Rig]:
    """A rig whose job runs, gone at the end of the block."""
    try:
        rig.begin()
        yield rig
    finally:
        rig.end()


Chance = random.Random
