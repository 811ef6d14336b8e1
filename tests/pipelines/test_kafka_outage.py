"""The embedded pipeline over a real Kafka that goes away, comes back, grows and is made anew: nothing lost, nothing twice."""

import threading
import uuid
from contextlib import closing
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient, NewPartitions

from bus.kafka import KafkaProducer
from bus.kafka_client import KafkaTarget
from bus.kafka_source import KafkaSource
from ingest.loadgen.batches import BusEntry
from pipelines.direct import MicroBatches, Work
from stores.parquet.manifest import Manifest
from tests.bus.buses import eventually
from tests.pipelines.line import ENRICHER, EXACT, LANES, expected_documents, stored_documents, traffic_of
from tests.servers.kafka import KafkaServer

pytestmark = [
    pytest.mark.server("kafka"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


def send(target: KafkaTarget, entries: list[BusEntry]) -> None:
    with closing(KafkaProducer(target)) as producer:
        for entry in entries:
            producer.send(entry.lane, entry.value)
        producer.flush(30)


def test_an_outage_and_growth_in_the_middle_change_no_document(broker: KafkaServer, tmp_path: Path) -> None:
    traffic = traffic_of("small", seed=41)
    entries = list(traffic.entries)
    third = len(entries) // 3
    target = KafkaTarget((broker.bootstrap,), f"away-{uuid.uuid4().hex[:8]}", 4, options={"metadata_max_age_ms": 500})
    send(target, entries[:third])
    stopped, seen = threading.Event(), {"batches": 0}
    with Manifest.open(tmp_path, writer=True) as manifest, closing(KafkaSource(target)) as source:
        driver = MicroBatches(source, manifest, Work(ENRICHER, EXACT, LANES))

        def between() -> None:
            seen["batches"] = manifest.load().counters.get("pipeline_batches_total", 0)
            seen["partitions"] = len([name for name in driver.standing if name.startswith("pipeline_unread_batches")])
            seen["failed"] = driver.failed_runs

        thread = threading.Thread(target=driver.run_until, args=(stopped, 0.1, between))
        thread.start()
        try:
            eventually(lambda: seen["batches"] == third, "the first third")
            broker.stop()
            eventually(lambda: seen["failed"] > 0, "the outage to be noticed")
            broker.start()
            send(target, entries[third : 2 * third])
            eventually(lambda: seen["batches"] == 2 * third, "the second third")
            with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
                admin.create_partitions({target.topic: NewPartitions(8)})
            eventually(lambda: seen["partitions"] == 8, "the new partitions")
            send(target, entries[2 * third :])
            eventually(lambda: seen["batches"] == len(entries), "the rest")
        finally:
            stopped.set()
            thread.join()
        assert manifest.load().counters["pipeline_bus_errors_total"] > 0
    assert stored_documents(tmp_path) == expected_documents(traffic.answer)
