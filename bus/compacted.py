"""A compacted Kafka topic as a table that several processes share: the last value per key, kept for ever.

In: keys and values. Out: everything that is in the topic now. Made beside the topic of a bus, with the same brokers and options.
Refuses to know what the values mean. Every fault is a BusError.
"""

from contextlib import closing
from dataclasses import replace
from typing import Any, Final

from kafka import TopicPartition, errors
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.consumer import KafkaConsumer
from kafka.producer import KafkaProducer

from bus.kafka_client import KafkaTarget, connect, located
from common.errors import BusError

_POLL_MS: Final = 500
_READ_S: Final = 30
_FLUSH_S: Final = 10.0


def beside(target: KafkaTarget, suffix: str) -> KafkaTarget:
    """The table that belongs to a bus topic."""
    return replace(target, topic=f"{target.topic}-{suffix}", partitions=1)


def read_table(target: KafkaTarget) -> dict[bytes, bytes]:
    """All pairs, those written last at the end; empty when there is no such topic. Raises BusError."""
    _ensure(target)
    with closing(connect(KafkaConsumer, target, {}, {"enable_auto_commit": False})) as client, located(target, "does not answer"):
        consumer: Any = client
        partition = TopicPartition(target.topic, 0)
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        end = consumer.end_offsets([partition])[partition]
        table: dict[bytes, bytes] = {}
        idle = 0
        while consumer.position(partition) < end:
            records = consumer.poll(timeout_ms=_POLL_MS).get(partition, [])
            idle = 0 if records else idle + 1
            if idle * _POLL_MS > _READ_S * 1000:
                raise BusError(f"{target}: topic {target.topic} does not give its entries")
            for record in records:
                table.pop(record.key, None)
                if record.value:
                    table[record.key] = record.value
        return table


def write_table(target: KafkaTarget, pairs: dict[bytes, bytes]) -> None:
    """Put all pairs in; acknowledged when it returns. Raises BusError."""
    with closing(connect(KafkaProducer, target, {}, {"acks": "all"})) as client, located(target, "does not take entries"):
        producer: Any = client
        sent = [producer.send(target.topic, key=key, value=value, partition=0) for key, value in pairs.items()]
        for each in sent:
            each.get(timeout=_FLUSH_S)


def _ensure(target: KafkaTarget) -> None:
    with closing(connect(KafkaAdminClient, target)) as client, located(target, f"topic {target.topic} cannot be made"):
        admin: Any = client
        if admin.describe_topics([target.topic])[0]["error_code"] != errors.UnknownTopicOrPartitionError.errno:
            return
        topic = NewTopic(target.topic, 1, target.replication, topic_configs={"cleanup.policy": "compact"})
        try:
            admin.create_topics([topic], timeout_ms=10_000)
        except errors.TopicAlreadyExistsError:
            return
        admin.wait_for_topics([target.topic], timeout_ms=10_000)
