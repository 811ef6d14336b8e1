"""A real broker that stops, crashes and comes back under load, and a real collector that is killed meanwhile."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bus.draining import SpoolingProducer
from bus.kafka import KafkaProducer
from bus.kafka_client import KafkaTarget
from bus.kafka_source import KafkaSource
from bus.spool import SpoolLimits
from common.errors import BusError
from common.metrics import Counters
from tests.bus.buses import eventually, read_all
from tests.servers.kafka import KafkaServer

LANES = 4
PARTITIONS = 2
LIMITS = SpoolLimits(segment_bytes=1 << 20)
BOUND_S = 0.3
pytestmark = [pytest.mark.server("kafka"), pytest.mark.slow]


@pytest.fixture
def target(broker: KafkaServer) -> KafkaTarget:
    return KafkaTarget((broker.bootstrap,), f"faults-{uuid.uuid4().hex[:12]}", PARTITIONS)


class Load:
    """Sends numbered batches to all lanes, flushing each round; knows how long the caller was ever held up."""

    def __init__(self, producer: SpoolingProducer) -> None:
        self.producer = producer
        self.rounds = 0
        self.longest_send_s = 0.0
        self.longest_flush_s = 0.0

    def round(self) -> None:
        for lane in range(LANES):
            started = time.monotonic()
            self.producer.send(lane, b"%d " % self.rounds * 2000)
            self.longest_send_s = max(self.longest_send_s, time.monotonic() - started)
        started = time.monotonic()
        self.producer.flush(10)
        self.longest_flush_s = max(self.longest_flush_s, time.monotonic() - started)
        self.rounds += 1

    def during(self, act: Callable[[], None]) -> None:
        """Go on sending while `act` runs, and a while longer."""
        thread = threading.Thread(target=act)
        thread.start()
        while thread.is_alive():
            self.round()
        thread.join()
        for _ in range(50):
            self.round()


def arrived(target: KafkaTarget) -> list[list[int]]:
    """Per lane, the numbers in the topic in their order, repeats and all."""
    found: list[list[int]] = [[] for _ in range(LANES)]
    with closing(KafkaSource(target)) as source:
        for partition in range(PARTITIONS):
            for entry in read_all(source, partition):
                found[entry.lane].append(int(entry.value.split(b" ", 1)[0]))
    return found


def without_repeats(numbers: list[int]) -> list[int]:
    kept: list[int] = []
    for number in numbers:
        if not kept or number > kept[-1]:
            kept.append(number)
    return kept


@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "crashed"])
def test_an_outage_under_load_loses_nothing_and_keeps_the_order(
    broker: KafkaServer, target: KafkaTarget, tmp_path: Path, crash: bool
) -> None:
    counters = Counters()
    producer = SpoolingProducer(lambda: KafkaProducer(target, counters), tmp_path, LANES, LIMITS, counters, BOUND_S)
    load = Load(producer)
    load.round()
    eventually(lambda: producer.direct, "Kafka to be reached")
    for _ in range(50):
        load.round()
    assert counters.value("bus_outages_total") == 0
    load.during(broker.kill if crash else broker.stop)
    assert not producer.direct
    load.during(broker.start)
    eventually(lambda: producer.direct, "the spool to be drained")
    for _ in range(50):
        load.round()
    producer.close()
    for numbers in arrived(target):
        assert without_repeats(numbers) == list(range(load.rounds))
        assert len(numbers) == load.rounds, "the client gave up a session: allowed, but not expected"
    counted = counters.as_map()
    assert counted["bus_outages_total"] >= 1
    assert counted["bus_drained_total"] == counted["bus_spilled_total"] > LANES * 100
    assert "bus_dropped_total" not in counted
    # A busy machine adds to both; what counts is that neither waits for Kafka.
    assert load.longest_send_s < 2
    assert load.longest_flush_s < BOUND_S + 3


COLLECTOR = """
import sys
from pathlib import Path
from bus.draining import SpoolingProducer
from bus.kafka import KafkaProducer
from bus.kafka_client import KafkaTarget
target = KafkaTarget((sys.argv[1],), sys.argv[2], 2)
producer = SpoolingProducer(lambda: KafkaProducer(target), Path(sys.argv[3]), 4, bound_s=0.2)
number = int(sys.argv[4])
while True:
    for lane in range(4):
        producer.send(lane, b"%d " % number * 2000)
    producer.flush(1)
    number += 1
    print(number, flush=True)
"""


class Collector:
    """A process that sends to Kafka until it is killed."""

    def __init__(self, target: KafkaTarget, spool: Path, first: int) -> None:
        command = [sys.executable, "-c", COLLECTOR, target.servers[0], target.topic, str(spool), str(first)]
        env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)

    def acknowledged(self, rounds: int) -> int:
        """Wait for so many rounds; the number that comes next."""
        assert self._process.stdout is not None
        return [int(self._process.stdout.readline()) for _ in range(rounds)][-1]

    def kill(self) -> int:
        """SIGKILL; the number after the last acknowledged one."""
        last = self.acknowledged(1)
        self._process.send_signal(signal.SIGKILL)
        rest, _ = self._process.communicate()
        return max([last, *map(int, rest.split())])


def test_a_collector_killed_in_an_outage_has_lost_nothing_it_acknowledged(
    broker: KafkaServer, target: KafkaTarget, tmp_path: Path
) -> None:
    """Numbers that were sent but not acknowledged may be missing or there; the next collector goes on well above them."""
    first = Collector(target, tmp_path, 0)
    first.acknowledged(30)
    broker.stop()
    first.acknowledged(30)
    upto = first.kill()
    second = Collector(target, tmp_path, 1000)
    second.acknowledged(30)
    upto_second = second.kill()
    broker.start()
    third = Collector(target, tmp_path, 2000)
    third.acknowledged(30)
    upto_third = third.kill()
    counters = Counters()
    last = SpoolingProducer(lambda: KafkaProducer(target, counters), tmp_path, LANES, LIMITS, counters)
    for lane in range(LANES):
        last.send(lane, b"3000 ")
    eventually(lambda: last.direct, "the spool to be drained")
    last.close()
    wanted = {*range(upto), *range(1000, upto_second), *range(2000, upto_third), 3000}
    for numbers in arrived(target):
        kept = without_repeats(numbers)
        assert wanted <= set(kept)
        assert set(numbers) == set(kept), "something older came after something newer"


def test_without_a_spool_an_outage_is_an_error_of_flush(broker: KafkaServer, target: KafkaTarget) -> None:
    producer = KafkaProducer(target)
    producer.send(0, b"0 ")
    producer.flush(10)
    broker.stop()
    try:
        producer.send(0, b"1 ")
        with pytest.raises(
            BusError, match=rf"kafka {broker.bootstrap}, topic {target.topic}: 1 batches not acknowledged within 0.3 s"
        ):
            producer.flush(0.3)
    finally:
        broker.start()
    producer.flush(30)
    producer.close()
    assert arrived(target)[0] == [0, 1]


def test_a_source_survives_a_restart_of_its_broker(broker: KafkaServer, target: KafkaTarget) -> None:
    with closing(KafkaProducer(target)) as producer, closing(KafkaSource(target)) as source:
        producer.send(0, b"before")
        producer.flush(10)
        (before,) = source.read(0, 0, 1000, wait_s=10)
        broker.restart()
        producer.send(0, b"after")
        producer.flush(30)
        (after,) = source.read(0, before.offset + 1, 1000, wait_s=20)
    assert (before.value, after.value) == (b"before", b"after")
