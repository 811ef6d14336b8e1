"""The whole line on real parts: Kafka -> Flink -> Elasticsearch, with a worker killed under it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.config import Bus, Pipeline, Settings
from flink.job import Documents, job_builder
from flink.submit import submit
from flowpb.codec import decode_header
from stores.elasticsearch.client import Client
from stores.elasticsearch.layout import DEAD_LETTERS
from stores.elasticsearch.setup import install
from stores.elasticsearch.target import Target
from tests.flink.test_pipeline_on_flink import PARTITIONS, producing, until
from tests.pipelines.line import expected_documents, newest, traffic_of
from tests.servers.elasticsearch import ElasticsearchServer
from tests.servers.flink import FlinkCluster
from tests.servers.kafka import KafkaServer
from tests.stores.stores import wipe
from tests.stores_elasticsearch.stored import aggregate_rows, hits, raw_count

pytestmark = [pytest.mark.server("flink"), pytest.mark.server("kafka"), pytest.mark.server("elasticsearch")]

EXACT = Pipeline(candidates_young=1 << 20, candidates_old=1 << 20)


@pytest.fixture
def client(elasticsearch: ElasticsearchServer) -> Iterator[Client]:
    target = Target.parse(f"elasticsearch://127.0.0.1:{elasticsearch.port}?prefix={elasticsearch.new_prefix()}&replicas=false")
    client = Client.open(target)
    list(install(client, {}))
    yield client
    wipe(client)


def test_documents_equal_the_oracles_and_every_flow_is_there_once_after_a_kill(
    kafka: KafkaServer, flink_cluster: FlinkCluster, elasticsearch: ElasticsearchServer, client: Client, tmp_path: Path
) -> None:
    traffic = traffic_of("skewed", seed=22)
    bus = Bus(url=f"kafka://{kafka.bootstrap}/{kafka.new_topic(PARTITIONS)}")
    settings = Settings(bus=bus, pipeline=EXACT, data_dir=str(tmp_path))
    url = f"elasticsearch://127.0.0.1:{elasticsearch.port}?prefix={client.target.prefix}&profile=opennms"
    produce = producing(settings, traffic)
    third = len(traffic.entries) // 3
    produce(0, third)
    job = submit(job_builder(settings, Documents(url)), flink_cluster.options())
    try:
        until(lambda: flink_cluster.rest.checkpoints(job).completed > 0 and raw_count(client) > 0, "a checkpoint and raw documents")
        os.kill(flink_cluster.worker_pids()[0], signal.SIGKILL)
        produce(third, len(traffic.entries))
        expected = expected_documents(traffic.answer)
        until(lambda: newest(aggregate_rows(client)) == expected, "the oracle's documents")
        headers = {(h.collector, h.epoch, h.lane, h.seq): h for h, _ in (decode_header(entry.value) for entry in traffic.entries)}
        flows = sum(header.flow_count for header in headers.values())
        until(lambda: raw_count(client) == flows, f"{flows} raw documents")
        assert flink_cluster.rest.checkpoints(job).restored >= 1
        assert hits(client, DEAD_LETTERS, []) == []
    finally:
        flink_cluster.cancel(job)
