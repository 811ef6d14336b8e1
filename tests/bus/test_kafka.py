"""What only Kafka has: topics, limits, groups, secured listeners, and not being there."""

import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError

from bus import kafka_source
from bus.draining import SpoolingProducer
from bus.kafka import KafkaProducer
from bus.kafka_client import MAX_MESSAGE_BYTES, KafkaTarget
from bus.kafka_source import KafkaSource, close_pool
from bus.open import open_direct_producer, open_producer, open_source
from common.config import Bus
from common.errors import BatchTooLargeError, BusError
from common.metrics import Counters
from tests.bus.buses import eventually, read_all, values
from tests.servers.kafka import SECURED, KafkaServer

on_kafka = pytest.mark.server("kafka")


@pytest.fixture(autouse=True)
def no_idle_connections() -> Iterator[None]:
    yield
    close_pool()


def fresh(kafka: KafkaServer, partitions: int = 16) -> KafkaTarget:
    return KafkaTarget((kafka.bootstrap,), f"bus-{uuid.uuid4().hex[:12]}", partitions)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_an_unreachable_broker_is_one_line_that_names_it() -> None:
    address = nobody()
    for make in (KafkaProducer, KafkaSource):
        with pytest.raises(BusError) as caught:
            make(KafkaTarget((address,), "flows"))
        assert str(caught.value) == f"kafka {address} cannot be reached: Connection refused; is it running, and bus.url right?"


def test_a_broker_that_never_answers_is_given_up_in_time(silent_port: int) -> None:
    target = KafkaTarget((f"127.0.0.1:{silent_port}",), "flows", options={"bootstrap_timeout_ms": 300})
    started = time.monotonic()
    with pytest.raises(BusError, match=f"kafka 127.0.0.1:{silent_port} cannot be reached: "):
        KafkaProducer(target)
    assert time.monotonic() - started < 5


def test_an_error_never_shows_a_password() -> None:
    target = KafkaTarget((nobody(),), "flows", options={"sasl_plain_password": "very-secret"})
    with pytest.raises(BusError) as caught:
        KafkaProducer(target)
    assert "secret" not in f"{caught.value} {target!r} {target}"


def test_ingest_can_start_without_kafka(tmp_path: Path) -> None:
    counters = Counters()
    producer = open_producer(Bus(url=f"kafka://{nobody()}/flows"), tmp_path, counters)
    producer.send(3, b"early")
    producer.flush(10)
    eventually(lambda: counters.sum("bus_connect_failures_total") > 0, "an attempt to connect")
    producer.close()
    assert counters.value("bus_spilled_total") == 1


@on_kafka
def test_a_missing_topic_is_made_fit_for_batches(kafka: KafkaServer) -> None:
    target = fresh(kafka)
    KafkaProducer(target).close()
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        configs = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, target.topic)])["topic"][target.topic]
        partitions = admin.describe_topics([target.topic])[0]["partitions"]
    assert len(partitions) == 16
    assert configs["message.timestamp.type"]["value"] == "LogAppendTime"
    assert int(configs["max.message.bytes"]["value"]) == MAX_MESSAGE_BYTES >= 2 << 20


@on_kafka
def test_a_topic_has_as_many_partitions_as_asked_for(kafka: KafkaServer) -> None:
    with closing(KafkaSource(fresh(kafka, partitions=3))) as source:
        assert source.partitions == 3


@on_kafka
def test_collectors_that_deal_lanes_out_differently_are_refused(kafka: KafkaServer) -> None:
    target = replace(fresh(kafka, partitions=4), pinned=True)
    KafkaProducer(target).close()
    with pytest.raises(BusError, match=r"are dealt out over 4 partitions.* but bus\.url says partitions=2: say 4 in every"):
        KafkaProducer(replace(target, partitions=2))
    with pytest.raises(BusError, match=r"has 4 partitions, but its lanes are dealt out over 8"):
        KafkaProducer(replace(target, partitions=8))
    for again in (target, replace(target, partitions=16, pinned=False)):
        KafkaProducer(again).close()


@on_kafka
def test_a_batch_too_large_for_the_topic_is_refused_before_it_is_sent(kafka: KafkaServer) -> None:
    topic = kafka.new_topic(1, {"max.message.bytes": "10000"})
    with closing(KafkaProducer(KafkaTarget((kafka.bootstrap,), topic))) as producer:
        producer.send(0, bytes(9_000))
        with pytest.raises(
            BatchTooLargeError, match=r"a batch of 11000 octets is too large for topic .*max.message.bytes \(10000\)"
        ):
            producer.send(0, bytes(11_000))
        producer.flush(10)


@on_kafka
def test_counters_tell_what_was_acknowledged(kafka: KafkaServer) -> None:
    counters = Counters()
    producer = KafkaProducer(fresh(kafka), counters)
    for lane in range(5):
        producer.send(lane, bytes(100))
    producer.flush(10)
    producer.close()
    assert counters.as_map() == {'bus_bytes_total{bus="kafka"}': 500, 'bus_entries_total{bus="kafka"}': 5}


@on_kafka
def test_released_positions_show_as_the_groups_lag(kafka: KafkaServer) -> None:
    """Tried again and again, as in a service: a broker loads the group's coordinator when it is first asked."""
    target = fresh(kafka)
    name = TopicPartition(target.topic, 2)
    with (
        closing(KafkaSource(target, commit_every_s=0.0)) as source,
        closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin,
    ):

        def recorded() -> bool:
            source.release(2, 7)
            try:
                found = admin.list_group_offsets({"nephrite": [name]})["nephrite"]
            except KafkaError:
                return False
            return name in found and found[name].offset == 7

        eventually(recorded, "the group's offset")


@on_kafka
def test_a_position_that_cannot_be_recorded_is_counted_and_stops_nothing(kafka: KafkaServer) -> None:
    counters = Counters()
    target = fresh(kafka)
    source = KafkaSource(target, counters, commit_every_s=0.0)
    source.release(99, 7)
    source.close()
    assert counters.as_map() == {"bus_commit_failures_total": 1}


@on_kafka
def test_idle_connections_are_used_again(kafka: KafkaServer) -> None:
    target = fresh(kafka)
    with closing(KafkaProducer(target)) as producer:
        for number in range(100):
            producer.send(0, b"%d" % number)
        producer.flush(10)
    offset = 0
    while offset < 100:
        with closing(KafkaSource(target)) as source:
            found = source.read(0, offset, 1)
            assert values(found) == [b"%d" % offset]
            offset = found[-1].offset + 1


@on_kafka
def test_reading_many_large_partitions_at_once_keeps_every_entry(kafka: KafkaServer) -> None:
    """More than what is kept per partition, read in turns, so that fetching pauses and goes on."""
    target = fresh(kafka, partitions=4)
    with closing(KafkaProducer(target)) as producer:
        for number in range(80):
            producer.send(number % 4, bytes([number]) * 500_000)
            if number % 20 == 19:
                producer.flush(20)
    with closing(KafkaSource(target)) as source:
        offsets = [0] * 4
        found: list[bytes] = []
        while sum(offsets) < 80:
            for partition in range(4):
                entries = source.read(partition, offsets[partition], 1_000_000, wait_s=10.0 if offsets[partition] < 20 else 0.0)
                found += values(entries)
                offsets[partition] += len(entries)
    assert sorted(found) == [bytes([number]) * 500_000 for number in range(80)]


@on_kafka
def test_a_reader_that_goes_back_is_given_a_partition_that_was_paused(kafka: KafkaServer) -> None:
    target = fresh(kafka, partitions=1)
    with closing(KafkaProducer(target)) as producer:
        for number in range(12):
            producer.send(0, bytes([number]) * 500_000)
        producer.flush(20)
    with closing(KafkaSource(target)) as source:
        assert values(source.read(0, 0, 1)) == [bytes(500_000)]
        connection = source._open()
        while not connection._known[0].paused:
            connection.fetch(0.2)
        connection.stand_at(0, 0)
        assert (connection._known[0].paused, connection.client.paused()) == (False, set())
        assert values(source.read(0, 0, 1)) == [bytes(500_000)]


@on_kafka
def test_small_entries_of_partitions_that_are_paused_in_turns_all_come(kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that gave nothing for a while would be an error here."""
    monkeypatch.setattr(kafka_source, "_KEPT_BYTES", 50_000)
    target, count = fresh(kafka, partitions=3), 3_000
    with closing(KafkaProducer(target)) as producer:
        for number in range(count):
            for lane in range(3):
                producer.send(lane, b"%0200d" % number)
            if number % 500 == 499:
                producer.flush(20)
    offsets = [0] * 3
    with closing(KafkaSource(target)) as source:
        while sum(offsets) < 3 * count:
            for partition in range(3):
                entries = source.read(partition, offsets[partition], 50_000)
                assert values(entries) == [b"%0200d" % n for n in range(offsets[partition], offsets[partition] + len(entries))]
                offsets[partition] += len(entries)


class Clock:
    """Stands still unless it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def waiting(kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[KafkaSource, Clock]]:
    """A source of a topic with an entry in each of two partitions, of which nothing was read yet."""
    target = fresh(kafka, partitions=2)
    with closing(KafkaProducer(target)) as producer:
        for lane in range(2):
            producer.send(lane, b"%d" % lane)
        producer.flush(10)
    clock = Clock()
    with closing(KafkaSource(target)) as source:
        monkeypatch.setattr(kafka_source, "time", clock)
        yield source, clock
        monkeypatch.undo()


@on_kafka
def test_a_connection_that_gives_nothing_is_made_anew(waiting: tuple[KafkaSource, Clock]) -> None:
    source, clock = waiting
    stuck = source._open()

    def nothing(timeout_s: float) -> bool:
        clock.now_s += max(2.0, timeout_s)
        return False

    stuck.fetch = nothing  # type: ignore[method-assign]
    with pytest.raises(BusError, match=r"/0 does not give offset 0 that it has, within 5 s: connected anew$"):
        source.read(0, 0, 1)
    assert source._open() is not stuck
    assert [values(source.read(partition, 0, 1)) for partition in range(2)] == [[b"0"], [b"1"]]


@on_kafka
def test_what_comes_of_other_partitions_shows_that_the_broker_answers(waiting: tuple[KafkaSource, Clock]) -> None:
    source, clock = waiting
    connection = source._open()
    fetch = connection.fetch
    turns = iter(range(4))

    def others_first(timeout_s: float) -> bool:
        clock.now_s += 2.0
        return True if next(turns, None) is not None else fetch(timeout_s)

    connection.fetch = others_first  # type: ignore[method-assign]
    assert values(source.read(0, 0, 1)) == [b"0"]


@on_kafka
@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_options_reach_the_client(kafka: KafkaServer, tmp_path: Path, codec: str) -> None:
    bus = Bus(url=f"kafka://{kafka.bootstrap}/{fresh(kafka).topic}?compression_type={codec}&partitions=1")
    with closing(open_direct_producer(bus, tmp_path)) as producer:
        producer.send(0, b"squeezed " * 1000)
        producer.flush(10)
    with closing(open_source(bus, tmp_path)) as source:
        assert values(read_all(source, 0)) == [b"squeezed " * 1000]


def secured_bus(server: KafkaServer, listener: str, password: Path) -> Bus:
    return Bus(url=server.secured_url(f"secured-{uuid.uuid4().hex[:8]}", listener, password))


@on_kafka
@pytest.mark.parametrize("listener", SECURED)
def test_secured_listeners_take_batches(kafka_secured: KafkaServer, tmp_path: Path, listener: str) -> None:
    (tmp_path / "password").write_text("alice-secret\n")
    bus = secured_bus(kafka_secured, listener, tmp_path / "password")
    with closing(open_direct_producer(bus, tmp_path)) as producer:
        producer.send(1, b"confidential")
        producer.flush(10)
    with closing(open_source(bus, tmp_path)) as source:
        assert values(read_all(source, 1)) == [b"confidential"]
        source.release(1, 1)


@on_kafka
def test_a_wrong_password_is_an_error_in_time(kafka_secured: KafkaServer, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong-secret")
    bus = secured_bus(kafka_secured, "scram", tmp_path / "password")
    with pytest.raises(BusError, match=r"kafka 127.0.0.1:\d+ cannot be reached: ") as caught:
        open_direct_producer(bus, tmp_path)
    assert "secret" not in str(caught.value)


@on_kafka
def test_a_spool_left_behind_is_drained_into_kafka(kafka: KafkaServer, tmp_path: Path) -> None:
    target = fresh(kafka)

    def unreachable() -> KafkaProducer:
        raise BusError("not today")

    before = SpoolingProducer(unreachable, tmp_path)
    for number in range(30):
        before.send(number % 3, b"%d" % number)
    before.close()
    counters = Counters()
    after = SpoolingProducer(lambda: KafkaProducer(target, counters), tmp_path, counters=counters)
    after.send(0, b"new")
    eventually(lambda: after.direct, "the spool to be drained")
    after.close()
    with closing(KafkaSource(target)) as source:
        assert values(read_all(source, 0)) == [*(b"%d" % number for number in range(0, 30, 3)), b"new"]
    assert counters.value("bus_drained_total") == 31
