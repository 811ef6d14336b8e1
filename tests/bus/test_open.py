"""URLs: what each names, and what is wrong with those that name nothing."""

from contextlib import closing
from pathlib import Path

import pytest

from bus.kafka_client import KafkaTarget
from bus.open import FORMS, MemoryPlace, SpoolPlace, open_direct_producer, open_producer, open_source, parse_url, spool_limits
from common.config import Bus
from common.errors import ConfigError
from tests.bus.buses import read_all, values

DATA = Path("data")


def test_urls_name_their_bus() -> None:
    assert parse_url("spool:", DATA) == SpoolPlace(DATA / "spool")
    assert parse_url("spool:/var/spool/flows", DATA) == SpoolPlace(Path("/var/spool/flows"))
    assert parse_url("memory:test", DATA) == MemoryPlace("test")
    assert parse_url("kafka://one,two:9093/flows", DATA) == KafkaTarget(("one:9092", "two:9093"), "flows")


def test_kafka_options_get_the_type_that_the_client_wants(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hidden\n")
    ours = "partitions=4&replication=3&group=lab"
    theirs = f"linger_ms=5&ssl_check_hostname=false&ssl_cafile=/ca&sasl_plain_password_file={tmp_path}/password"
    target = parse_url(f"kafka://one/flows?{ours}&{theirs}", DATA)
    assert isinstance(target, KafkaTarget)
    assert (target.partitions, target.replication, target.group) == (4, 3, "lab")
    assert target.options == {"linger_ms": 5, "ssl_check_hostname": False, "ssl_cafile": "/ca", "sasl_plain_password": "hidden"}


@pytest.mark.parametrize(
    ("url", "problems"),
    [
        ("", [f"bus.url: '' names no bus; it must be {FORMS}"]),
        ("redis://host", [f"bus.url: 'redis://host' names no bus; it must be {FORMS}"]),
        ("spool://host/path", [f"bus.url: 'spool://host/path' names no bus; it must be {FORMS}"]),
        ("memory:", [f"bus.url: 'memory:' names no bus; it must be {FORMS}"]),
        ("kafka:host/flows", [f"bus.url: 'kafka:host/flows' names no bus; it must be {FORMS}"]),
        (
            "kafka://host/all%20flows",
            ["bus.url: 'all flows' can be no topic: letters, digits, dots, dashes and underscores, at most 249"],
        ),
        ("kafka://host/..", ["bus.url: '..' can be no topic: letters, digits, dots, dashes and underscores, at most 249"]),
        ("kafka://host:x/flows", ["bus.url: 'host:x' has no port number"]),
        (
            "kafka://host/flows?acks=0&linger_ms=soon&metrics_enabled=2&partitions=0&sasl_plain_password_file=/none",
            [
                "bus.url: partitions must be a number above 0",
                "bus.url: kafka has no option 'acks' that can be set",
                "bus.url: kafka option linger_ms must be a number",
                "bus.url: kafka option metrics_enabled must be true or false",
                "bus.url: kafka option sasl_plain_password_file: /none: No such file or directory",
            ],
        ),
    ],
)
def test_bad_urls_are_named_with_all_their_faults(url: str, problems: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url(url, DATA)
    assert list(caught.value.problems) == problems


@pytest.mark.parametrize("url", ["kafka://", "kafka://host", "kafka:///flows"])
def test_kafka_needs_brokers_and_a_topic(url: str) -> None:
    with pytest.raises(ConfigError, match="needs brokers and a topic, as in kafka://host:9092,host:9092/topic"):
        parse_url(url, DATA)


def test_a_bad_url_does_not_give_away_what_follows_the_question_mark() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url("kafkas://host/flows?sasl_plain_password=hidden", DATA)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("url", ["spool:", "memory:open"])
def test_both_ends_of_a_url_meet(tmp_path: Path, url: str) -> None:
    bus = Bus(url=url, lanes=4, fsync=False)
    with closing(open_producer(bus, tmp_path)) as producer, closing(open_source(bus, tmp_path)) as source:
        producer.send(3, b"there")
        producer.flush(1)
        assert source.partitions == 4
        assert values(read_all(source, 3)) == [b"there"]
    with closing(open_direct_producer(bus, tmp_path)) as producer:
        producer.send(3, b"again")


def test_a_source_of_a_spool_that_is_not_there_yet_has_all_its_lanes(tmp_path: Path) -> None:
    with closing(open_source(Bus(lanes=8), tmp_path)) as source:
        assert source.partitions == 8
        assert [source.end(lane) for lane in range(8)] == [0] * 8
        assert list(source.read(7, 0, 1000)) == []


def test_segments_are_small_enough_for_a_small_spool() -> None:
    assert spool_limits(Bus()).segment_bytes == 64 << 20
    assert spool_limits(Bus(spool_bytes=64 << 20)).segment_bytes == 1 << 20
