"""A topic that changes under its readers: partitions added, made anew, or with the senders' clock."""

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic
from kafka.errors import TopicAlreadyExistsError

from bus.kafka import KafkaProducer
from bus.kafka_client import KafkaTarget
from bus.kafka_source import KafkaSource, close_pool
from bus.open import parse_url
from common.errors import BusError, BusReplacedError
from tests.bus.buses import eventually, read_all, values
from tests.servers.kafka import KafkaServer

pytestmark = pytest.mark.server("kafka")
QUICK = {"metadata_max_age_ms": 200}


@pytest.fixture(autouse=True)
def no_idle_connections() -> Iterator[None]:
    yield
    close_pool()


@pytest.fixture
def target(kafka: KafkaServer) -> KafkaTarget:
    return KafkaTarget((kafka.bootstrap,), f"changes-{uuid.uuid4().hex[:12]}", 4, options=QUICK)


def send(target: KafkaTarget, *lanes: int) -> None:
    with closing(KafkaProducer(target)) as producer:
        for lane in lanes:
            producer.send(lane, b"lane %d" % lane)


def admin_of(target: KafkaTarget) -> KafkaAdminClient:
    return KafkaAdminClient(bootstrap_servers=list(target.servers))


def made(admin: KafkaAdminClient, target: KafkaTarget) -> bool:
    """Whether the topic could be made: the old one takes a while to go."""
    try:
        admin.create_topics([NewTopic(target.topic, 4, 1, topic_configs={"message.timestamp.type": "LogAppendTime"})])
    except TopicAlreadyExistsError:
        return False
    return True


def test_a_collector_that_starts_after_the_topic_grew_keeps_its_lanes_in_place(target: KafkaTarget) -> None:
    send(target, 5)
    with closing(admin_of(target)) as admin:
        admin.create_partitions({target.topic: NewPartitions(8)})
    with closing(KafkaSource(target)) as source:
        eventually(lambda: source.partitions == 8, "growth")
        send(target, 5, 6)
        assert values(read_all(source, 1)) == [b"lane 5", b"lane 5"]
        assert [source.end(partition) for partition in range(8)] == [0, 2, 1, 0, 0, 0, 0, 0]


def test_the_url_may_say_how_many_partitions_carry_lanes(kafka: KafkaServer) -> None:
    topic = kafka.new_topic(6)
    three = parse_url(f"kafka://{kafka.bootstrap}/{topic}?partitions=3", Path())
    assert isinstance(three, KafkaTarget)
    send(three, 5)
    with closing(KafkaSource(three)) as source:
        assert values(read_all(source, 2)) == [b"lane 5"]
    seven = parse_url(f"kafka://{kafka.bootstrap}/{topic}?partitions=7", Path())
    assert isinstance(seven, KafkaTarget)
    with pytest.raises(BusError, match=r"has 6 partitions, but its lanes are dealt out over 7; say so in bus.url"):
        KafkaProducer(seven)


@pytest.mark.parametrize("end", [KafkaProducer, KafkaSource])
def test_a_topic_with_its_senders_clock_is_refused_with_the_remedy(kafka: KafkaServer, end: type) -> None:
    topic = kafka.new_topic(1, {"message.timestamp.type": "CreateTime"})
    target = KafkaTarget((kafka.bootstrap,), topic)
    with pytest.raises(BusError, match=r"nothing bounds a collector .* --add-config message.timestamp.type=LogAppendTime$"):
        end(target)
    with closing(admin_of(target)) as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"message.timestamp.type": "LogAppendTime"})])
    close_pool()
    end(target).close()


def test_a_topic_made_anew_is_told_once_per_partition(target: KafkaTarget) -> None:
    send(target, 0, 0, 1)
    with closing(KafkaSource(target)) as source:
        assert len(read_all(source, 0)) == 2
        assert len(read_all(source, 1)) == 1
        with closing(admin_of(target)) as admin:
            admin.delete_topics([target.topic])
            eventually(lambda: made(admin, target), "the new topic")
            admin.wait_for_topics([target.topic], timeout_ms=10_000)
        send(target, 0, 0, 0, 1)

        def told(partition: int) -> bool:
            try:
                source.read(partition, 1, 1 << 20)
            except BusReplacedError:
                return True
            return False

        eventually(lambda: told(0), "the new topic to be noticed")
        assert told(1)
        assert [len(read_all(source, partition)) for partition in (0, 1)] == [3, 1]
