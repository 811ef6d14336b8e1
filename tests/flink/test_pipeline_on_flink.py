"""The aggregation job on a real Flink over a real Kafka, with a worker killed under it: documents equal to the oracle's."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from kafka import KafkaConsumer

from bus.open import open_direct_producer
from common.config import Bus, Pipeline, Settings
from flink.job import Documents, job_builder
from flink.submit import submit
from flowpb.codec import decode_header
from tests.pipelines.line import Traffic, expected_documents, newest, row_of, traffic_of
from tests.servers.flink import FlinkCluster
from tests.servers.kafka import KafkaServer

pytestmark = [pytest.mark.server("flink"), pytest.mark.server("kafka")]

PARTITIONS = 4
EXACT = Pipeline(candidates_young=1 << 20, candidates_old=1 << 20)
DEADLINE_S = 150.0


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    return traffic_of("skewed", seed=21)


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {DEADLINE_S:.0f} s"
        time.sleep(0.2)


def test_documents_on_a_topic_equal_the_oracles_after_a_kill(
    kafka: KafkaServer, flink_cluster: FlinkCluster, traffic: Traffic, tmp_path: Path
) -> None:
    flows, documents = kafka.new_topic(PARTITIONS), kafka.new_topic(1)
    settings = Settings(pipeline=EXACT, bus=Bus(url=f"kafka://{kafka.bootstrap}/{flows}"), data_dir=str(tmp_path))
    produce = producing(settings, traffic)
    third = len(traffic.entries) // 3
    produce(0, third)
    job = submit(job_builder(settings, Documents(f"kafka://{kafka.bootstrap}/{documents}")), flink_cluster.options())
    got = Topic(kafka, documents)
    try:
        until(lambda: got.count() > 0, "first documents")
        until(lambda: flink_cluster.rest.checkpoints(job).completed > 0, "a checkpoint to go back to")
        os.kill(flink_cluster.worker_pids()[0], signal.SIGKILL)
        produce(third, len(traffic.entries))
        expected = expected_documents(traffic.answer)
        until(lambda: got.count() > 0 and got.rows() == expected, "the oracle's documents")
        assert flink_cluster.rest.checkpoints(job).restored >= 1
    finally:
        flink_cluster.cancel(job)
        got.close()


def test_documents_in_files_equal_the_oracles_and_counters_reach_prometheus(
    kafka: KafkaServer, flink_cluster: FlinkCluster, traffic: Traffic, tmp_path: Path
) -> None:
    out = tmp_path / "documents"
    out.mkdir()
    settings = Settings(
        pipeline=EXACT, bus=Bus(url=f"kafka://{kafka.bootstrap}/{kafka.new_topic(PARTITIONS)}"), data_dir=str(tmp_path)
    )
    producing(settings, traffic)(0, len(traffic.entries))
    options = flink_cluster.options(disable_metrics=False, job_name="scraped")
    job = submit(job_builder(settings, Documents(str(out))), options)
    expected = expected_documents(traffic.answer)
    flows = sum(decode_header(entry.value)[0].flow_count for entry in traffic.entries)
    try:
        until(lambda: newest(map(row_of, lines_of(out))) == expected, "the oracle's documents")
        until(lambda: scraped(flink_cluster, "pipeline_flows_total") == flows, "all flows in the counters")
        until(lambda: received(out / "ledger") == flows, "all flows in the ledger")
    finally:
        flink_cluster.cancel(job)


def received(folder: Path) -> int:
    """Flows in the newest versions of the ledger's rows."""
    newest_row: dict[str, dict[str, Any]] = {}
    for row in lines_of(folder):
        if row["version"] >= newest_row.get(row["_id"], row)["version"]:
            newest_row[row["_id"]] = row
    return sum(row.get("flows_received", 0) for row in newest_row.values())


def scraped(cluster: FlinkCluster, counter: str) -> float:
    """A counter of the job `scraped`, over all subtasks."""
    lines = [line for line in cluster.metrics().splitlines() if 'job_name="scraped"' in line and not line.startswith("#")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if counter in line.partition("{")[0])


def producing(settings: Settings, traffic: Traffic) -> Callable[[int, int], None]:
    """A function that sends entries [begin, end) and waits for their acknowledgements."""

    def produce(begin: int, end: int) -> None:
        producer = open_direct_producer(settings.bus, Path(settings.data_dir))
        for entry in traffic.entries[begin:end]:
            producer.send(entry.lane, entry.value)
        producer.flush(30)
        producer.close()

    return produce


class Topic:
    """All documents that a topic has had so far."""

    def __init__(self, kafka: KafkaServer, name: str) -> None:
        self._consumer = KafkaConsumer(name, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", group_id=None)
        self._rows: list[dict[str, Any]] = []

    def count(self) -> int:
        for records in self._consumer.poll(timeout_ms=200).values():
            self._rows.extend(row_of(orjson.loads(record.value)) for record in records)
        return len(self._rows)

    def rows(self) -> list[dict[str, Any]]:
        return newest(self._rows)

    def close(self) -> None:
        self._consumer.close()


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for file in folder.glob("*.ndjson") for line in file.read_bytes().splitlines()]
