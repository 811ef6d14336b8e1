"""One suite for every bus; where a bus may differ it says so in `TestedBus`."""

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.contract import partition_of
from common.errors import BusError, OffsetGoneError
from tests.bus.buses import PARTITIONS, KafkaBus, MemoryBus, SpoolBus, TestedBus, eventually, read_all, values

LANES = 8
BUSES = ["memory", "spool", pytest.param("kafka", marks=pytest.mark.server("kafka"))]


@pytest.fixture(params=BUSES)
def bus(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestedBus]:
    tested: TestedBus
    if request.param == "memory":
        tested = MemoryBus()
    elif request.param == "spool":
        tested = SpoolBus(tmp_path / "spool")
    else:
        tested = KafkaBus(request.getfixturevalue("kafka").bootstrap, f"contract-{uuid.uuid4().hex[:12]}")
    yield tested
    tested.close()


def fill(bus: TestedBus, count: int, lane: int = 0) -> list[bytes]:
    sent = [b"%d of %d" % (number, lane) for number in range(count)]
    producer = bus.producer()
    for value in sent:
        producer.send(lane, value)
    producer.flush(10)
    producer.close()
    return sent


def test_a_lane_is_read_in_the_order_in_which_it_was_sent(bus: TestedBus) -> None:
    producer, source = bus.producer(), bus.source()
    lanes = range(PARTITIONS)
    for number in range(20):
        for lane in lanes:
            producer.send(lane, b"%d/%d" % (lane, number))
    producer.flush(10)
    for lane in lanes:
        entries = read_all(source, lane)
        assert values(entries) == [b"%d/%d" % (lane, number) for number in range(20)]
        assert {(entry.lane, entry.partition) for entry in entries} == {(lane, lane)}


def test_offsets_rise_and_append_times_are_now(bus: TestedBus) -> None:
    before_ms = time.time_ns() // 1_000_000
    fill(bus, 30)
    entries = read_all(bus.source(), 0)
    offsets = [entry.offset for entry in entries]
    assert len(entries) == 30
    assert offsets == sorted(set(offsets))
    assert all(before_ms - 1000 <= entry.append_ms <= time.time_ns() // 1_000_000 + 1000 for entry in entries)


def test_an_empty_partition_has_neither_entries_nor_a_span(bus: TestedBus) -> None:
    source = bus.source()
    assert source.partitions == PARTITIONS
    for partition in range(PARTITIONS):
        assert source.begin(partition) == source.end(partition)
        assert list(source.read(partition, source.begin(partition), 1000)) == []


def test_begin_and_end_enclose_what_is_there(bus: TestedBus) -> None:
    fill(bus, 10)
    source = bus.source()
    entries = read_all(source, 0)
    assert source.begin(0) <= entries[0].offset
    assert source.end(0) > entries[-1].offset
    assert source.begin(1) == source.end(1)


def test_reading_can_start_at_any_offset_in_any_order(bus: TestedBus) -> None:
    sent = fill(bus, 12)
    source = bus.source()
    offsets = [entry.offset for entry in read_all(source, 0)]
    for number in (11, 0, 5, 6, 3, 3, 10, 0):
        assert values(read_all(source, 0, offsets[number])) == sent[number:]


def test_reading_beyond_the_end_gives_nothing_until_it_is_reached(bus: TestedBus) -> None:
    fill(bus, 3)
    source = bus.source()
    beyond = source.end(0) + 2
    assert list(source.read(0, beyond, 1000)) == []
    fill(bus, 4)
    assert values(read_all(source, 0, beyond)) == [b"2 of 0", b"3 of 0"]


def test_a_read_is_about_as_large_as_asked_for_but_never_empty(bus: TestedBus) -> None:
    producer, source = bus.producer(), bus.source()
    for _ in range(10):
        producer.send(0, bytes(1000))
    producer.flush(10)
    assert len(source.read(0, 0, 1)) == 1
    offset, sizes = 0, []
    while found := source.read(0, offset, 3000):
        offset = found[-1].offset + 1
        sizes.append(len(found))
    assert sum(sizes) == 10
    assert max(sizes) <= 4


@pytest.mark.parametrize("size", [0, 1, 65_516, 65_536, 65_537, 2_000_000])
def test_entries_of_any_size_arrive_as_they_were_sent(bus: TestedBus, size: int) -> None:
    producer, source = bus.producer(), bus.source()
    large = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    for value in (b"before", large, b"after"):
        producer.send(2, value)
    producer.flush(10)
    assert values(read_all(source, 2)) == [b"before", large, b"after"]


def test_several_lanes_of_one_partition_keep_their_own_order(bus: TestedBus) -> None:
    producer, source = bus.producer(), bus.source()
    for number in range(10):
        for lane in range(LANES):
            producer.send(lane, b"%d" % number)
    producer.flush(10)
    partitions = source.partitions
    for lane in range(LANES):
        entries = read_all(source, partition_of(lane, partitions))
        assert values([entry for entry in entries if entry.lane == lane]) == [b"%d" % number for number in range(10)]


def test_a_reader_keeps_up_with_a_writer(bus: TestedBus) -> None:
    count = 300
    producer, source = bus.producer(), bus.source()

    def write() -> None:
        for number in range(count):
            producer.send(1, b"%d" % number * 50)
            if number % 7 == 0:
                producer.flush(10)
        producer.flush(10)

    writer = threading.Thread(target=write)
    writer.start()
    entries = read_all(source, 1, count=count)
    writer.join()
    assert values(entries) == [b"%d" % number * 50 for number in range(count)]


def test_waiting_ends_with_the_first_entry(bus: TestedBus) -> None:
    producer, source = bus.producer(), bus.source()
    waiting = threading.Event()

    def write() -> None:
        waiting.wait()
        producer.send(3, b"here")
        producer.flush(10)

    writer = threading.Thread(target=write)
    writer.start()
    started = time.monotonic()
    waiting.set()
    found = source.read(3, 0, 1000, wait_s=20.0)
    writer.join()
    assert values(found) == [b"here"]
    assert time.monotonic() - started < 10


def test_waiting_in_vain_takes_as_long_as_asked(bus: TestedBus) -> None:
    source = bus.source()
    started = time.monotonic()
    assert list(source.read(0, 0, 1000, wait_s=0.15)) == []
    assert 0.15 <= time.monotonic() - started < 5


def test_what_is_not_released_stays(bus: TestedBus) -> None:
    sent = fill(bus, 10)
    source = bus.source()
    offsets = [entry.offset for entry in read_all(source, 0)]
    source.release(0, offsets[6])
    assert source.begin(0) <= offsets[6]
    assert values(read_all(source, 0, offsets[6])) == sent[6:]
    assert (source.begin(0) == offsets[6]) == bus.deletes_what_is_released


def test_offsets_go_on_rising_when_everything_was_released(bus: TestedBus) -> None:
    fill(bus, 5)
    source = bus.source()
    end = source.end(0)
    source.release(0, end)
    fill(bus, 3)
    entries = read_all(source, 0, end)
    assert [entry.offset >= end for entry in entries] == [True] * 3
    assert source.end(0) > end


def test_entries_that_were_lost_are_an_error_not_a_silent_jump(bus: TestedBus) -> None:
    sent = fill(bus, 10)
    source = bus.source()
    offsets = [entry.offset for entry in read_all(source, 0)]
    bus.expire(0, offsets[4])
    eventually(lambda: source.begin(0) == offsets[4], "expiry")
    with pytest.raises(OffsetGoneError, match="gone"):
        source.read(0, offsets[2], 1000)
    assert values(read_all(source, 0, source.begin(0))) == sent[4:]


def test_positions_of_other_partitions_survive_a_loss(bus: TestedBus) -> None:
    fill(bus, 10, lane=0)
    kept = fill(bus, 10, lane=1)
    source = bus.source()
    first, second = source.read(0, 0, 1), source.read(1, 0, 1)
    bus.expire(0, 9)
    eventually(lambda: source.begin(0) == 9, "expiry")
    assert values([*second, *read_all(source, 1, second[-1].offset + 1)]) == kept
    assert first[0].value == b"0 of 0"


def test_sources_do_not_disturb_each_other(bus: TestedBus) -> None:
    sent = fill(bus, 10)
    one, other = bus.source(), bus.source()
    head = one.read(0, 0, 1)
    assert values(read_all(other, 0)) == sent
    assert values([*head, *read_all(one, 0, head[-1].offset + 1)]) == sent


def test_a_closed_source_leaves_its_position_to_the_next(bus: TestedBus) -> None:
    sent = fill(bus, 10)
    first = bus.source()
    head = first.read(0, 0, 1)
    first.close()
    second = bus.source()
    assert values([*head, *read_all(second, 0, head[-1].offset + 1)]) == sent


def test_a_closed_producer_takes_nothing(bus: TestedBus) -> None:
    producer = bus.producer()
    producer.send(0, b"last")
    producer.close()
    producer.close()
    assert values(read_all(bus.source(), 0)) == [b"last"]
    with pytest.raises(BusError, match="closed"):
        producer.send(0, b"later")


def test_a_new_producer_continues_where_the_last_one_stopped(bus: TestedBus) -> None:
    sent = fill(bus, 5) + fill(bus, 5)
    assert values(read_all(bus.source(), 0)) == sent


def test_lanes_stay_where_they_are_when_partitions_are_added(bus: TestedBus) -> None:
    lane = PARTITIONS + 1
    sent = fill(bus, 3) + fill(bus, 2, lane=lane)
    source = bus.source()
    bus.grow(2 * PARTITIONS)
    eventually(lambda: source.partitions == 2 * PARTITIONS, "growth")
    sent += fill(bus, 3, lane=lane)
    found = {entry.value: entry.partition for each in range(2 * PARTITIONS) for entry in read_all(source, each)}
    assert set(found) == set(sent)
    assert [entry.value for entry in read_all(source, bus.home(lane)) if entry.lane == lane] == sent[3:]
    assert source.home_of(lane) == bus.home(lane)
    assert {partition for value, partition in found.items() if value.endswith(b"of %d" % lane)} == {bus.home(lane)}


def test_a_time_leads_to_the_first_entry_taken_then(bus: TestedBus) -> None:
    source = bus.source()
    fill(bus, 4)
    first = read_all(source, 0)[-1].append_ms
    eventually(lambda: time.time_ns() // 1_000_000 > first, "the next millisecond")
    fill(bus, 3)
    times = [entry.append_ms for entry in read_all(source, 0)]
    offsets = [entry.offset for entry in read_all(source, 0)]
    for moment in (0, *times, first + 1):
        wanted = next(offset for offset, append_ms in zip(offsets, times, strict=True) if append_ms >= moment)
        assert source.offset_at(0, moment) == wanted
    assert source.offset_at(0, times[-1] + 1) == source.end(0)
    assert source.offset_at(PARTITIONS - 1, 0) == source.end(PARTITIONS - 1) == source.begin(PARTITIONS - 1)


def test_the_released_position_is_remembered(bus: TestedBus) -> None:
    fill(bus, 4)
    source = bus.source()
    released = read_all(source, 0)[1].offset
    assert source.released(0) in (None, source.begin(0))
    source.release(0, released)
    source.close()
    assert bus.source().released(0) == released
