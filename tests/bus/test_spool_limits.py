"""How large a spool gets, what it does when it is full, and what is deleted when."""

from itertools import count
from pathlib import Path

import pytest

from bus.segments import bases_in, lane_folder
from bus.spool import SpoolLimits, SpoolProducer, WhenFull
from bus.spool_source import SpoolSource
from common.errors import BatchTooLargeError, BusError, OffsetGoneError
from common.metrics import Counters
from tests.bus.buses import read_all, read_back, values


def small(when_full: WhenFull) -> SpoolLimits:
    """Room for nine entries of 80 octets and their heads; three to a segment."""
    return SpoolLimits(total_bytes=999, segment_bytes=333, when_full=when_full, fsync=False)


def entry(number: int) -> bytes:
    return b"%080d" % number


def test_a_full_spool_refuses_and_takes_again_once_its_reader_is_on(tmp_path: Path) -> None:
    producer, source = SpoolProducer(tmp_path, 1, small("refuse")), SpoolSource(tmp_path)
    for number in range(9):
        producer.send(0, entry(number))
    with pytest.raises(BusError, match=f"spool full: {tmp_path} holds 900 of 999 octets; start its reader"):
        producer.send(0, entry(9))
    producer.flush(1)
    source.release(0, 4)
    producer.send(0, entry(9))
    producer.flush(1)
    assert values(read_all(source, 0, 4)) == [entry(number) for number in range(4, 10)]
    producer.close()
    source.close()


def test_a_full_spool_that_was_read_to_its_end_is_as_good_as_empty(tmp_path: Path) -> None:
    limits = SpoolLimits(total_bytes=999, segment_bytes=10_000, when_full="refuse", fsync=False)
    producer, source = SpoolProducer(tmp_path, 1, limits), SpoolSource(tmp_path)
    for number in range(50):
        producer.send(0, entry(number))
        producer.flush(1)
        assert values(source.read(0, number, 1)) == [entry(number)]
        source.release(0, number + 1)
    assert source.end(0) == 50
    producer.close()
    source.close()


def test_a_full_spool_drops_the_newest_and_counts_them(tmp_path: Path) -> None:
    counters = Counters()
    producer = SpoolProducer(tmp_path, 1, small("drop_newest"), counters)
    for number in range(12):
        producer.send(0, entry(number))
    producer.close()
    assert read_back(tmp_path) == [entry(number) for number in range(9)]
    assert counters.sum("bus_dropped_total") == counters.value("bus_dropped_total", reason="spool_full_newest") == 3
    assert counters.value("bus_entries_total", bus="spool") == 9


def test_a_full_spool_drops_the_oldest_of_all_lanes_and_counts_what_nobody_read(tmp_path: Path) -> None:
    counters = Counters()
    clock = count(1000).__next__
    producer = SpoolProducer(tmp_path, 2, small("drop_oldest"), counters, clock)
    source = SpoolSource(tmp_path)
    for number in range(3):
        producer.send(1, entry(number))
    producer.flush(1)
    source.release(1, 1)
    for number in range(8):
        producer.send(0, entry(number))
    assert counters.as_map()['bus_dropped_total{reason="spool_full_oldest"}'] == 2
    for number in range(8, 10):
        producer.send(0, entry(number))
    producer.flush(1)
    assert counters.as_map()['bus_dropped_total{reason="spool_full_oldest"}'] == 5
    assert (source.begin(1), source.end(1)) == (3, 3)
    assert values(read_all(source, 0, source.begin(0))) == [entry(number) for number in range(3, 10)]
    with pytest.raises(OffsetGoneError):
        source.read(0, 0, 100)
    producer.close()
    source.close()


@pytest.mark.parametrize("when_full", ["refuse", "drop_newest", "drop_oldest"])
def test_an_entry_larger_than_the_spool_does_not_cost_the_others(tmp_path: Path, when_full: WhenFull) -> None:
    producer = SpoolProducer(tmp_path, 1, small(when_full))
    producer.send(0, entry(1))
    with pytest.raises(BatchTooLargeError, match=r"a batch of 1020 octets is larger than bus.spool_bytes \(999\)"):
        producer.send(0, bytes(1000))
    producer.close()
    assert read_back(tmp_path) == [entry(1)]


def test_a_restarted_writer_knows_how_full_the_spool_is(tmp_path: Path) -> None:
    producer = SpoolProducer(tmp_path, 1, small("refuse"))
    for number in range(9):
        producer.send(0, entry(number))
    producer.close()
    again = SpoolProducer(tmp_path, 1, small("refuse"))
    with pytest.raises(BusError, match="holds 900 of 999"):
        again.send(0, entry(9))
    again.close()


def test_release_deletes_whole_segments_below_it_and_never_the_newest(tmp_path: Path) -> None:
    producer, source = SpoolProducer(tmp_path, 1, small("refuse")), SpoolSource(tmp_path)
    for number in range(9):
        producer.send(0, entry(number))
    producer.close()
    assert bases_in(lane_folder(tmp_path, 0)) == [0, 3, 6]
    for offset, left in ((2, [0, 3, 6]), (3, [3, 6]), (5, [3, 6]), (9, [6])):
        source.release(0, offset)
        assert bases_in(lane_folder(tmp_path, 0)) == left
    assert source.end(0) == 9
    source.close()


def test_lanes_that_an_earlier_writer_had_are_kept_and_count(tmp_path: Path) -> None:
    wide = SpoolProducer(tmp_path, 4, small("refuse"))
    for number in range(9):
        wide.send(3, entry(number))
    wide.close()
    narrow = SpoolProducer(tmp_path, 1, small("refuse"))
    with pytest.raises(BusError, match="holds 900 of 999"):
        narrow.send(0, entry(9))
    narrow.close()
    assert SpoolSource(tmp_path, 1).partitions == 4
