"""Kafka with a spool behind it, against a client whose broker does what the test says, when it says so.

Real brokers that stop and start are in test_kafka_faults; what is asked of them at chosen moments here, none of them does.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from bus.draining import SpoolingProducer
from bus.segments import Released, bases_in, lane_folder
from bus.spool import SpoolLimits
from common.errors import BatchTooLargeError, BusError
from common.metrics import Counters

LANES = 3
LIMITS = SpoolLimits(segment_bytes=120, fsync=False)
Identity = tuple[int, int]


def batch(epoch: int, seq: int) -> bytes:
    return b"%d %d" % (epoch, seq)


def identity(value: bytes) -> Identity:
    epoch, seq = value.split()
    return int(epoch), int(seq)


def without_repeats(log: list[Identity]) -> list[Identity]:
    """What a reader keeps: nothing at or below the last identity of the lane."""
    kept: list[Identity] = []
    for found in log:
        if not kept or found > kept[-1]:
            kept.append(found)
    return kept


class HeldDelivery:
    def __init__(self, lane: int, value: bytes) -> None:
        self.lane, self.value, self.size = lane, value, len(value)
        self.settled = False
        self.failure = ""

    def wait(self, timeout_s: float) -> bool:
        return self.settled


class Broker:
    """The log, and the switches of the test."""

    def __init__(self) -> None:
        self.log: list[list[Identity]] = [[] for _ in range(LANES)]
        self.reachable = True
        self.takes = True
        self.largest = 1000
        self.clients: list[HeldClient] = []

    def connect(self) -> "HeldClient":
        if not self.reachable:
            raise BusError("broker cannot be reached")
        self.clients.append(HeldClient(self))
        return self.clients[-1]

    def acknowledge(self, count: int = 1 << 30) -> None:
        """Take the first batches that wait, and say so."""
        for client in self.clients:
            for delivery in client.waiting()[:count]:
                client.arrive(delivery)
                delivery.settled = True

    def fail(self, arrived: int) -> None:
        """Let the latest client's first batch fail, after `arrived` batches have arrived without the client's knowing."""
        waiting = self.clients[-1].waiting()
        for delivery in waiting[:arrived]:
            self.clients[-1].arrive(delivery)
        for delivery in waiting[:1]:
            delivery.settled, delivery.failure = True, "the session is gone"
            self.clients[-1].broken = True


class HeldClient:
    """Keeps batches until the broker takes them; after a failure it delivers nothing more.

    (The real client may go on with newer batches when the broker has lost data that it had acknowledged: bus_overtaken_total.)
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._queue: list[HeldDelivery] = []
        self.abandoned = False
        self.broken = False

    def waiting(self) -> list[HeldDelivery]:
        return [] if self.abandoned or self.broken else [delivery for delivery in self._queue if not delivery.settled]

    def arrive(self, delivery: HeldDelivery) -> None:
        self._broker.log[delivery.lane].append(identity(delivery.value))

    def check_size(self, size: int) -> None:
        if size > self._broker.largest:
            raise BatchTooLargeError("too large")

    def hand_over(self, lane: int, value: bytes) -> HeldDelivery:
        if not self._broker.takes:
            raise BusError("does not take batches")
        self._queue.append(HeldDelivery(lane, value))
        return self._queue[-1]

    def settle(self) -> None:
        pass

    def abandon(self) -> None:
        self.abandoned = True


class Line:
    """A producer that the test drains step by step."""

    def __init__(self, path: Path, broker: Broker, limits: SpoolLimits = LIMITS) -> None:
        self.counters = Counters()
        self.producer = SpoolingProducer(broker.connect, path, LANES, limits, self.counters, bound_s=60.0, threaded=False)

    def drained(self, broker: Broker) -> None:
        """Drain with a broker that takes everything until nothing is left."""
        for _ in range(1000):
            if self.producer.direct:
                break
            self.producer.drain()
            broker.acknowledge()
        assert self.producer.direct
        broker.acknowledge()
        self.producer.drain()


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def line(tmp_path: Path, broker: Broker) -> Iterator[Line]:
    made = Line(tmp_path / "spool", broker)
    yield made
    made.producer.close()


def test_with_kafka_there_the_spool_stays_empty(line: Line, broker: Broker) -> None:
    line.drained(broker)
    for seq in range(10):
        line.producer.send(0, batch(1, seq))
        broker.acknowledge()
    line.producer.flush(1)
    assert broker.log[0] == [(1, seq) for seq in range(10)]
    assert line.counters.as_map() == {}


def test_before_kafka_is_reached_batches_are_durable_and_then_drained_in_order(line: Line, broker: Broker) -> None:
    broker.reachable = False
    for seq in range(10):
        line.producer.send(seq % LANES, batch(1, seq))
    line.producer.flush(1)
    assert line.producer.drain() > 0
    broker.reachable = True
    line.drained(broker)
    assert [[seq for _, seq in log] for log in broker.log] == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
    counted = line.counters.as_map()
    assert (counted["bus_spilled_total"], counted["bus_drained_total"], counted["bus_connect_failures_total"]) == (10, 10, 1)


def test_a_late_acknowledgement_moves_batches_to_the_spool_and_sends_none_twice(line: Line, broker: Broker) -> None:
    line.drained(broker)
    for seq in range(7):
        line.producer.send(0, batch(1, seq))
    line.producer.flush(1)
    assert not line.producer.direct
    line.producer.send(0, batch(1, 7))
    line.producer.flush(1)
    line.drained(broker)
    line.producer.send(0, batch(1, 8))
    broker.acknowledge()
    line.producer.flush(1)
    assert broker.log[0] == [(1, seq) for seq in range(9)]
    counted = line.counters.as_map()
    assert (counted["bus_outages_total"], counted["bus_spilled_total"], counted["bus_drained_total"]) == (1, 8, 8)


def test_what_was_acknowledged_is_deleted_and_not_sent_by_the_next_process(tmp_path: Path, broker: Broker) -> None:
    first = Line(tmp_path, broker)
    for seq in range(20):
        first.producer.send(0, batch(1, seq))
    first.drained(broker)
    first.producer.close()
    assert [Released(tmp_path).get(0), len(bases_in(lane_folder(tmp_path, 0)))] == [20, 1]
    second = Line(tmp_path, broker)
    second.drained(broker)
    second.producer.close()
    assert broker.log[0] == [(1, seq) for seq in range(20)]


def test_what_was_flushed_in_an_outage_is_on_disk(tmp_path: Path, line: Line, broker: Broker) -> None:
    line.drained(broker)
    for seq in range(3):
        line.producer.send(0, batch(1, seq))
    line.producer.flush(1)
    shutil.copytree(tmp_path / "spool", tmp_path / "after-a-crash")
    broker.clients[-1].abandoned = True
    after = Line(tmp_path / "after-a-crash", broker)
    after.drained(broker)
    after.producer.close()
    assert broker.log[0] == [(1, 0), (1, 1), (1, 2)]


def test_nothing_new_is_handed_over_while_the_first_is_not_acknowledged(line: Line, broker: Broker) -> None:
    line.drained(broker)
    line.producer.send(0, batch(1, 0))
    line.producer.flush(1)
    line.producer.send(0, batch(1, 1))
    line.producer.flush(1)
    for _ in range(5):
        line.producer.drain()
    assert not line.producer.direct
    assert [delivery.value for delivery in broker.clients[-1].waiting()] == [batch(1, 0)]


def test_a_failed_client_is_replaced_and_everything_from_its_failure_on_sent_again(line: Line, broker: Broker) -> None:
    line.drained(broker)
    for seq in range(4):
        line.producer.send(0, batch(1, seq))
    broker.acknowledge(1)
    broker.fail(arrived=2)
    line.producer.send(0, batch(1, 4))
    line.drained(broker)
    assert len(broker.clients) == 2
    assert broker.clients[0].abandoned
    assert broker.log[0] == [(1, 0), (1, 1), (1, 2), (1, 1), (1, 2), (1, 3), (1, 4)]


def test_a_client_that_takes_nothing_is_replaced(line: Line, broker: Broker) -> None:
    line.drained(broker)
    broker.takes = False
    line.producer.send(0, batch(1, 0))
    line.producer.flush(1)
    assert not line.producer.direct
    broker.takes = True
    line.drained(broker)
    assert broker.log[0] == [(1, 0)]


@pytest.mark.parametrize("during", ["connecting", "handing over"])
def test_an_error_that_nobody_expected_is_told_and_draining_goes_on(
    line: Line, broker: Broker, during: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> HeldDelivery:
        raise KeyError("max.message.bytes")

    for seq in range(5):
        line.producer.send(0, batch(1, seq))
    with monkeypatch.context() as broken:
        broken.setattr(*((line.producer, "_connect", fail) if during == "connecting" else (HeldClient, "hand_over", fail)))
        assert line.producer.drain() > 0
    line.drained(broker)
    assert broker.log[0] == [(1, seq) for seq in range(5)]
    assert line.counters.value("bus_drain_failures_total") == 1
    assert "failed, trying again: KeyError: 'max.message.bytes'" in caplog.text


def test_a_batch_too_large_for_the_topic_is_refused_or_dropped_from_the_spool(line: Line, broker: Broker) -> None:
    line.producer.send(0, b"1 0".ljust(1001))
    line.producer.send(0, batch(1, 1))
    line.drained(broker)
    assert broker.log[0] == [(1, 1)]
    assert line.counters.value("bus_dropped_total", reason="too_large") == 1
    with pytest.raises(BatchTooLargeError, match="too large"):
        line.producer.send(0, bytes(1001))


def test_what_another_process_left_is_drained_before_anything_new(tmp_path: Path, broker: Broker) -> None:
    broker.reachable = False
    first = Line(tmp_path, broker)
    for seq in range(5):
        first.producer.send(0, batch(1, seq))
    first.producer.close()
    broker.reachable = True
    second = Line(tmp_path, broker)
    second.producer.send(0, batch(2, 0))
    second.drained(broker)
    second.producer.close()
    assert broker.log[0] == [*((1, seq) for seq in range(5)), (2, 0)]


@pytest.mark.parametrize("when_full", ["drop_oldest", "drop_newest"])
def test_in_an_outage_longer_than_the_spool_lasts_batches_are_dropped_and_counted(
    tmp_path: Path, broker: Broker, when_full: str
) -> None:
    limits = SpoolLimits(1000, 100, "drop_oldest" if when_full == "drop_oldest" else "drop_newest", fsync=False)
    line = Line(tmp_path, broker, limits)
    line.drained(broker)
    for seq in range(100):
        line.producer.send(0, batch(1, seq))
        line.producer.flush(1)
    line.drained(broker)
    line.producer.close()
    arrived = without_repeats(broker.log[0])
    assert len(arrived) + line.counters.sum("bus_dropped_total") >= 100
    assert (1, 0) in arrived
    assert ((1, 99) in arrived) == (when_full == "drop_oldest")


def test_a_full_spool_that_refuses_is_an_error_of_send_and_loses_nothing_it_took(tmp_path: Path, broker: Broker) -> None:
    line = Line(tmp_path, broker, SpoolLimits(300, 100, fsync=False))
    taken = 0
    broker.reachable = False
    for seq in range(20):
        try:
            line.producer.send(0, batch(1, seq))
        except BusError as error:
            assert "spool full" in str(error)
        else:
            taken += 1
    assert 0 < taken < 20
    broker.reachable = True
    line.drained(broker)
    line.producer.close()
    assert broker.log[0] == [(1, seq) for seq in range(taken)]


def test_a_closed_producer_takes_nothing(line: Line) -> None:
    line.producer.close()
    with pytest.raises(BusError, match="closed"):
        line.producer.send(0, b"1 0")


class Outages(RuleBasedStateMachine):
    """Any order of sending, flushing, acknowledging, failing, crashing: nothing flushed is missing, nothing is out of order."""

    folder: Path

    @initialize()
    def start(self) -> None:
        self.broker = Broker()
        self.epoch = 1
        self.generation = 0
        self.seq = 0
        self.sent: list[list[Identity]] = [[] for _ in range(LANES)]
        self.flushed: list[set[Identity]] = [set() for _ in range(LANES)]
        shutil.rmtree(self.folder, ignore_errors=True)
        self.line = Line(self.folder / "0", self.broker)

    @rule(lane=st.integers(0, LANES - 1), count=st.integers(1, 4))
    def send(self, lane: int, count: int) -> None:
        for _ in range(count):
            self.seq += 1
            self.line.producer.send(lane, batch(self.epoch, self.seq))
            self.sent[lane].append((self.epoch, self.seq))

    @rule()
    def flush(self) -> None:
        self.line.producer.flush(1)
        for lane, sent in enumerate(self.sent):
            self.flushed[lane].update(found for found in sent if found[0] == self.epoch)

    @rule(steps=st.integers(1, 3))
    def drain(self, steps: int) -> None:
        for _ in range(steps):
            self.line.producer.drain()

    @rule(count=st.integers(1, 5))
    def acknowledge(self, count: int) -> None:
        self.broker.acknowledge(count)

    @precondition(lambda self: self.broker.clients)
    @rule(arrived=st.integers(0, 4))
    def fail(self, arrived: int) -> None:
        self.broker.fail(arrived)

    @rule(reachable=st.booleans(), takes=st.booleans())
    def switch(self, reachable: bool, takes: bool) -> None:
        self.broker.reachable, self.broker.takes = reachable, takes

    @rule(arrived=st.integers(0, 4))
    def crash(self, arrived: int) -> None:
        """What is on disk stays, what is in memory goes; of what was under way a part arrives."""
        for client in self.broker.clients:
            for delivery in client.waiting()[:arrived]:
                client.arrive(delivery)
            client.abandoned = True
        before = self.folder / str(self.generation)
        self.generation += 1
        shutil.copytree(before, self.folder / str(self.generation))
        self.line.producer.close()
        self.epoch, self.seq = self.epoch + 1, 0
        self.line = Line(self.folder / str(self.generation), self.broker)

    @invariant()
    def in_order(self) -> None:
        if hasattr(self, "broker"):
            for lane, log in enumerate(self.broker.log):
                kept = without_repeats(log)
                assert kept == [found for found in self.sent[lane] if found in set(kept)]

    def teardown(self) -> None:
        if not hasattr(self, "line"):
            return
        self.flush()
        self.broker.reachable = self.broker.takes = True
        self.line.drained(self.broker)
        self.line.producer.close()
        for lane, log in enumerate(self.broker.log):
            kept = without_repeats(log)
            assert self.flushed[lane] <= set(kept)
            assert kept == [found for found in self.sent[lane] if found in set(kept)]
            assert set(log) == set(kept), "a reader would have dropped what it never had"


def test_nothing_flushed_is_lost_or_overtaken_whatever_happens(tmp_path: Path) -> None:
    Outages.folder = tmp_path
    run_state_machine_as_test(Outages, settings=settings(stateful_step_count=40))
