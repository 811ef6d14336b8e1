"""Ranges of the bus that a job on a real Flink reads to their end, and FlowDocuments that go out of one job and into another."""

import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer

from common.clock import wall_clock
from common.config import Bus, Pipeline, Settings
from flink.job import Documents, job_builder
from flink.rest import TERMINAL
from flink.submit import submit
from tests.flink.rig import PARTITIONS, Rig, until
from tests.flink.test_faults import scenario
from tests.flink.test_pipeline_on_flink import lines_of
from tests.pipelines.line import answer_of, expected_documents, newest, row_of
from tests.servers.elasticsearch import ElasticsearchServer
from tests.servers.flink import FlinkCluster
from tests.servers.kafka import KafkaServer

pytestmark = [pytest.mark.server("flink"), pytest.mark.server("kafka"), pytest.mark.server("elasticsearch"), pytest.mark.slow]


def test_ranges_end_and_flow_documents_come_out_and_go_in(
    kafka: KafkaServer, flink_cluster: FlinkCluster, elasticsearch: ElasticsearchServer, tmp_path: Path
) -> None:
    """A back-fill of a part of the bus, which writes each flow as a FlowDocument; then another of these documents."""
    topic, flows_out = kafka.new_topic(PARTITIONS), f"documents-{uuid.uuid4().hex[:8]}"
    bus = Bus(url=f"kafka://{kafka.bootstrap}/{topic}")
    documents = f"kafka://{kafka.bootstrap}/{flows_out}?partitions={PARTITIONS}"
    exact = {"candidates_young": 1 << 20, "candidates_old": 1 << 20}
    rig = Rig(kafka, flink_cluster, elasticsearch, tmp_path, topic=topic)
    start_ms = (wall_clock() - 180_000) // 60_000 * 60_000
    before = scenario("small", 20, 10)(1, start_ms)
    wanted = scenario("small", 20, 60)(2, start_ms)
    rig.produce(before)
    from_ms = wall_clock() + 2
    while wall_clock() <= from_ms:
        time.sleep(0.001)
    rig.produce(wanted)
    expected = expected_documents(answer_of(wanted))
    first = Settings(bus=bus, pipeline=Pipeline(flow_documents_out=documents, **exact), data_dir=str(tmp_path))
    assert filled_back(flink_cluster, first, tmp_path / "first", from_ms) == expected
    assert messages(kafka, flows_out) == answer_of(wanted).counts.flows
    second = Settings(bus=bus, pipeline=Pipeline(flow_documents_in=documents, **exact), data_dir=str(tmp_path))
    assert filled_back(flink_cluster, second, tmp_path / "second", 0) == expected


def filled_back(cluster: FlinkCluster, settings: Settings, folder: Path, from_ms: int) -> list[dict[str, Any]]:
    """The documents of a job over what the bus took since then, which ends by itself."""
    folder.mkdir()
    builder = job_builder(settings, Documents(str(folder)), (from_ms, wall_clock() + 1))
    job = submit(builder, cluster.options(job_name=folder.name, ends=True))
    try:
        until(lambda: cluster.rest.job(job).state in TERMINAL, "the end of the job")
        assert cluster.rest.job(job).state == "FINISHED", cluster.rest.root_exception(job)
    finally:
        cluster.cancel(job)
    return newest(map(row_of, lines_of(folder)))


def messages(kafka: KafkaServer, topic: str) -> int:
    """How many a topic has."""
    with closing(KafkaConsumer(topic, bootstrap_servers=kafka.bootstrap, group_id=None, enable_auto_commit=False)) as consumer:
        until(lambda: bool(consumer.poll(timeout_ms=100) or consumer.assignment()), "the topic's partitions")
        return sum(consumer.end_offsets(list(consumer.assignment())).values())
