"""Dead letters in a Kafka topic: listed, shown, decoded again and let go of as from the data folder; never in the way."""

import json
from pathlib import Path

import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from bus.kafka_client import KafkaTarget
from bus.kafka_source import close_pool
from bus.open import open_producer
from common.config import Bus, Ingest, Listener, Settings
from common.errors import ConfigError, UsageError
from ingest.dead_letters import pack_letter
from ingest.decoder import Datagram
from ingest.letter_places import letters_of
from ingest.letter_topic import TopicLetters
from tests.ingest.packets import v5, v9_flows, v9_template
from tests.ingest.plain_flows import ipv4
from tests.ingest.test_dead_letters import run
from tests.ingest.test_service import running, send, until
from tests.servers.kafka import KafkaServer
from tests.servers.ports import free_block


def letter(number: int, octets: int = 4) -> bytes:
    return pack_letter(Datagram(ipv4(1), number, bytes(octets)), "set_length", "why", partly=False)


@pytest.mark.server("kafka")
def test_letters_go_to_a_topic_and_come_back(kafka: KafkaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bus = Bus(url=f"kafka://{kafka.bootstrap}/letters?partitions=2", lanes=4)
    listeners = (Listener(host="127.0.0.1", port=0),)
    ingest = Ingest(collector="c", listeners=listeners, dead_letters="kafka:", dead_letters_bytes=16 << 20, parked_bytes=0)
    settings = Settings(data_dir=str(tmp_path), ingest=ingest, bus=bus)
    producer = open_producer(bus, tmp_path)
    short = v5(3)[:-20]
    with running(settings, producer) as service:
        send(service.addresses[0], [b"junk", short, v9_flows(2), v9_template(2)])
        until(lambda: service.counters.value("ingest_dead_letters_total", result="kept") == 3)
    producer.close()
    environment = {"BUS__URL": bus.url, "BUS__LANES": "4", "INGEST__COLLECTOR": "c", "INGEST__DEAD_LETTERS": "kafka:"}
    for name, value in environment.items():
        monkeypatch.setenv(f"NEPHRITE_{name}", value)
    in_folder = ("-d", str(tmp_path))
    rows = json.loads(run("dead-letters", "list", *in_folder, "-f", "json").stdout)
    assert [(row["number"], row["reason"], row["exporter"]) for row in rows] == [
        (0, "unknown_protocol", "127.0.0.1"), (1, "length_mismatch", "127.0.0.1"), (2, "parked_refused", "127.0.0.1"),
    ]  # fmt: skip
    assert "6a 75 6e 6b" in run("dead-letters", "show", "0", *in_folder).stdout
    assert isinstance(run("dead-letters", "show", "3", *in_folder).exception, UsageError)
    done = run("dead-letters", "replay", *in_folder)
    assert done.stderr == "2 datagrams again: 2 flows decoded, 1 datagrams still undecodable\n"
    rows = json.loads(run("dead-letters", "list", *in_folder, "-f", "json").stdout)
    assert [(row["number"], row["reason"]) for row in rows] == [(3, "unknown_protocol"), (4, "length_mismatch")]
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    configs = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "letters-dead-letters")], config_filter="all")
    admin.close()
    assert configs["topic"]["letters-dead-letters"]["retention.bytes"]["value"] == str(16 << 20)
    close_pool()


def test_letters_that_no_broker_takes_are_counted_and_wait_in_bounds() -> None:
    box = TopicLetters(KafkaTarget((f"127.0.0.1:{free_block(1)}",), "none"), 1 << 20).open()
    for number in range(300):
        box.put(letter(number, 60_000))
    assert box.given == 300
    assert 100 < box.failed < 300
    box.close()
    assert (box.kept, box.failed) == (0, 300)


def test_the_settings_say_where(tmp_path: Path) -> None:
    def where(place: str, bus: str = "spool:") -> object:
        return letters_of(Settings(data_dir=str(tmp_path), ingest=Ingest(dead_letters=place), bus=Bus(url=bus)))

    for place in ("kafka:", "spool:/x", "kafka://host", "pigeon:"):
        with pytest.raises(ConfigError, match=r"ingest\.dead_letters: "):
            where(place)
    assert isinstance(where("kafka://host/topic"), TopicLetters)
    assert isinstance(where("kafka:", "kafka://host/topic"), TopicLetters)
