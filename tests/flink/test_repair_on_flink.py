"""Late flows on a real Flink over a real Kafka: points of final minutes as the in-process runner has them, then `nephrite repair`
reads the topic again, and the documents in a real Elasticsearch are those of an oracle for which nothing is late.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from bus.memory import MemorySource
from common.clock import wall_clock
from common.config import Bus, Pipeline, Settings
from flink.job import Documents, job_builder
from flink.rest import TERMINAL
from flink.submit import submit
from ingest.loadgen.batches import BusEntry
from pipelines.aggregate import Outputs
from pipelines.direct import MicroBatches, Work
from pipelines.series_sink import close_outlets, receivers_of
from stores.elasticsearch.client import Client
from stores.elasticsearch.layout import DEAD_LETTERS, REPAIRS
from stores.elasticsearch.setup import install
from stores.parquet.manifest import Manifest
from tests.bus.buses import eventually
from tests.e2e.command import nephrite
from tests.flink.test_pipeline_on_flink import PARTITIONS, producing, until
from tests.pipelines.line import ENRICHER, EXACT, LANES, Traffic, answer_of, expected_documents, fill, newest
from tests.pipelines.test_repair import outage, repaired_documents
from tests.pipelines.test_series_of_a_line import served
from tests.servers.elasticsearch import ElasticsearchServer
from tests.servers.flink import FlinkCluster
from tests.servers.kafka import KafkaServer
from tests.stores.stores import target_of, wipe
from tests.stores_elasticsearch.stored import aggregate_rows, hits

pytestmark = [pytest.mark.server("flink"), pytest.mark.server("kafka"), pytest.mark.server("elasticsearch")]

HOLD: Final = {"retention.ms": "-1", "message.timestamp.type": "LogAppendTime"}
WIDE: Final = Pipeline(candidates_young=1 << 20, candidates_old=1 << 20)


@pytest.fixture
def client(elasticsearch: ElasticsearchServer) -> Iterator[Client]:
    client = Client.open(replace(target_of(elasticsearch), prefix=elasticsearch.new_prefix()))
    list(install(client, {}))
    yield client
    wipe(client)


def test_points_of_a_job_and_a_repair_from_the_topic(
    kafka: KafkaServer, flink_cluster: FlinkCluster, client: Client, tmp_path: Path
) -> None:
    entries = outage(seed=4, away_s=1500)
    traffic = Traffic(entries, answer_of(entries))
    bus = Bus(url=f"kafka://{kafka.bootstrap}/{kafka.new_topic(PARTITIONS, HOLD)}")
    target = f"elasticsearch://{client.target.hosts[0]}?prefix={client.target.prefix}&replicas=false&retry_s=4"
    with served() as graphite:
        series = graphite.settings.model_copy(update={"when_away": "wait"})
        settings = Settings(bus=bus, pipeline=WIDE, series=series, data_dir=str(tmp_path))
        producing(settings, traffic)(0, len(entries))
        run_to_its_end(flink_cluster, settings, target)
        assert set(graphite.lines) == lines_in_process(entries, tmp_path / "in-process")
    assert newest(aggregate_rows(client)) == expected_documents(traffic.answer)
    assert hits(client, REPAIRS, []) != []
    exact = {"NEPHRITE_BUS__URL": bus.url} | {f"NEPHRITE_PIPELINE__CANDIDATES_{age}": str(1 << 20) for age in ("YOUNG", "OLD")}
    done = nephrite("repair", target, "--data-dir", tmp_path / "repair", changes=exact)
    assert done.code == 0, done.err
    assert newest(aggregate_rows(client)) == repaired_documents(entries)
    assert hits(client, REPAIRS, []) == hits(client, DEAD_LETTERS, []) == []


def run_to_its_end(cluster: FlinkCluster, settings: Settings, target: str) -> None:
    """A job over all that the topic has."""
    builder = job_builder(settings, Documents(target), (0, wall_clock() + 1))
    job = submit(builder, cluster.options(job_name="repair", ends=True))
    try:
        until(lambda: cluster.rest.job(job).state in TERMINAL, "the end of the job")
        assert cluster.rest.job(job).state == "FINISHED", cluster.rest.root_exception(job)
    finally:
        cluster.cancel(job)


def lines_in_process(entries: list[BusEntry], folder: Path) -> set[bytes]:
    """What the embedded pipeline sends for the same entries."""
    with served() as graphite, Manifest.open(folder, writer=True) as manifest:
        work = Work(ENRICHER, EXACT, LANES, outputs=Outputs(raw=False, series=receivers_of(graphite.settings)))
        driver = MicroBatches(MemorySource(fill(entries)), manifest, work)
        driver.drain()
        driver.finish()
        close_outlets()
        eventually(lambda: graphite.ended > 0, "the end of the connection")
        assert graphite.lines
        return set(graphite.lines)
