"""The outbox: order, acknowledgement, attempts while the bus is away, and an end that says what is lost."""

import threading
from collections.abc import Iterator

import pytest

from common.errors import BatchTooLargeError, BusError
from ingest.batcher import Batch
from ingest.outbox import Outbox


class FlakyBus:
    """Takes batches in order; refuses while `down`. A fault that no real bus produces on demand."""

    def __init__(self) -> None:
        self.down = threading.Event()
        self.unflushed: list[tuple[int, bytes]] = []
        self.refused = 0
        self.room = 1 << 30
        self.taken: list[tuple[int, bytes]] = []
        self.changed = threading.Condition()

    def send(self, lane: int, value: bytes) -> None:
        if len(self.unflushed) >= self.room:
            raise BusError("no room for more")
        if value == b"giant":
            raise BatchTooLargeError("too large for the topic")
        self.unflushed.append((lane, value))

    def flush(self, timeout_s: float) -> None:
        assert timeout_s > 0
        if self.down.is_set():
            with self.changed:
                self.refused += 1
                self.changed.notify_all()
            raise BusError("broker 127.0.0.1:9 is away")
        with self.changed:
            self.taken.extend(self.unflushed)
            self.unflushed.clear()
            self.changed.notify_all()

    def close(self) -> None:
        raise AssertionError("the outbox does not own the bus")

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.taken) >= count, 10)


@pytest.fixture
def bus() -> FlakyBus:
    return FlakyBus()


@pytest.fixture
def outbox(bus: FlakyBus) -> Iterator[Outbox]:
    under_test = Outbox(bus, 10_000)
    under_test.start()
    yield under_test
    under_test.stop(0)


def batches(count: int, first: int = 0) -> list[Batch]:
    return [Batch(number % 3, b"%d" % number) for number in range(first, first + count)]


def test_everything_arrives_in_order(bus: FlakyBus, outbox: Outbox) -> None:
    outbox.put(batches(5))
    outbox.put(batches(5, 5))
    bus.wait_for(10)
    assert bus.taken == [(number % 3, b"%d" % number) for number in range(10)]
    assert outbox.stop(5) == 0
    assert (outbox.batches, outbox.octets, outbox.errors) == (10, 10, 0)


def test_a_bus_that_is_away_gets_everything_again_when_it_is_back(bus: FlakyBus, outbox: Outbox) -> None:
    bus.down.set()
    outbox.put(batches(4))
    with bus.changed:
        assert bus.changed.wait_for(lambda: bus.refused >= 2, 10)
    bus.down.clear()
    assert outbox.stop(10) == 0
    firsts = list(dict.fromkeys(value for _, value in bus.taken))
    assert firsts == [b"0", b"1", b"2", b"3"]
    assert outbox.errors >= 2
    assert "127.0.0.1:9" in outbox.last_error
    assert outbox.batches == 4


def test_full_stops_the_input_and_room_lets_it_go_on(bus: FlakyBus, outbox: Outbox) -> None:
    bus.down.set()
    outbox.put([Batch(0, bytes(10_000))])
    assert outbox.full
    assert not outbox.wait_for_room(0.01)
    bus.down.clear()
    assert outbox.wait_for_room(10)


def test_stopping_with_the_bus_away_tells_what_is_lost(bus: FlakyBus, outbox: Outbox) -> None:
    bus.down.set()
    outbox.put(batches(7))
    assert outbox.stop(0.2) == 7
    assert outbox.waiting == 7


def test_a_batch_that_no_bus_takes_is_counted_and_holds_nobody_up(bus: FlakyBus, outbox: Outbox) -> None:
    outbox.put([Batch(0, b"first"), Batch(0, b"giant"), Batch(0, b"last")])
    assert outbox.stop(5) == 0
    assert bus.taken == [(0, b"first"), (0, b"last")]
    assert outbox.refused == 1


def test_what_was_taken_before_a_refusal_is_flushed_and_not_sent_again(bus: FlakyBus, outbox: Outbox) -> None:
    bus.room = 2
    outbox.put(batches(7))
    assert outbox.stop(10) == 0
    assert bus.taken == [(number % 3, b"%d" % number) for number in range(7)]
