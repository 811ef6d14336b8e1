"""Collectors before a real Kafka with TLS and SCRAM: batches, shared templates and dead letters all go there, and come back."""

from contextlib import closing
from pathlib import Path

import pytest

from bus.draining import SpoolingProducer
from bus.kafka_source import close_pool
from bus.open import open_producer, open_source
from common.config import Bus, Ingest, Listener, Settings
from ingest.letter_places import letters_of
from ingest.service import IngestService
from tests.ingest.load import read_all
from tests.ingest.packets import v9_flows, v9_template
from tests.ingest.test_service import running, send, until
from tests.servers.kafka import KafkaServer


def collect(settings: Settings, *payloads: bytes) -> IngestService:
    """One collector from its start to its end, with all its batches acknowledged by Kafka."""
    producer = open_producer(settings.bus, Path(settings.data_dir))
    assert isinstance(producer, SpoolingProducer)
    with closing(producer), running(settings, producer) as service:
        until(lambda: producer.direct)
        send(service.addresses[0], payloads)
    return service


@pytest.mark.server("kafka")
def test_a_collector_started_cold_decodes_at_once_over_tls_and_scram(kafka_secured: KafkaServer, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("alice-secret\n")
    bus = Bus(url=kafka_secured.secured_url("collectors", "scram over tls", password), lanes=4)
    ingest = Ingest(listeners=(Listener(host="127.0.0.1", port=0),), share_templates="kafka:", dead_letters="kafka:")
    first, second = (
        Settings(data_dir=str(tmp_path / name), ingest=ingest.model_copy(update={"collector": name}), bus=bus)
        for name in ("first", "second")
    )
    collect(first, v9_template(), b"junk")
    service = collect(second, v9_flows(5))
    with closing(open_source(bus, tmp_path)) as source:
        entries = read_all(source, 1.0)
    assert {header.collector for header, _ in entries} == {"first", "second"}
    assert [header.collector for header, _ in entries if header.flow_count] == ["second"]
    assert sum(header.flow_count for header, _ in entries) == 5
    assert service.counters.sum("ingest_problems_total") == 0
    assert service.counters.sum("ingest_sharing_errors_total") == 0
    assert [letter.datagram.payload for letter in letters_of(second).read()] == [b"junk"]
    close_pool()
