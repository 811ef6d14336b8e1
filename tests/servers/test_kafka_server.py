"""The broker that the tests use: what is written is read back, over a restart and a crash."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tests.servers.kafka import KafkaServer

pytestmark = pytest.mark.server("kafka")


@contextmanager
def producer(kafka: KafkaServer) -> Iterator[KafkaProducer]:
    made = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    try:
        yield made
    finally:
        made.close()


def read_back(kafka: KafkaServer, topic: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=20_000)
    try:
        consumer.assign([TopicPartition(topic, 0)])
        return [record.value for _, record in zip(range(count), consumer, strict=False)]
    finally:
        consumer.close()


def test_records_survive_restart_and_crash(kafka: KafkaServer) -> None:
    topic = kafka.new_topic(configs={"retention.ms": "-1"})
    with producer(kafka) as sender:
        sender.send(topic, b"before").get(20)
    kafka.restart()
    assert kafka.is_running()
    with producer(kafka) as sender:
        sender.send(topic, b"between").get(20)
    kafka.kill()
    assert not kafka.is_running()
    kafka.start()
    assert read_back(kafka, topic, 2) == [b"before", b"between"]


def test_topics_have_names_of_their_own_and_the_partitions_asked_for(kafka: KafkaServer) -> None:
    topics = {kafka.new_topic(partitions=3), kafka.new_topic()}
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap)
    try:
        assert sorted(len(consumer.partitions_for_topic(topic)) for topic in topics) == [1, 3]
    finally:
        consumer.close()
