"""What a reader does when the bus is no longer the one it left: entries gone, all of it gone, or another bus in its place."""

from pathlib import Path
from typing import Final

import pytest

from bus.memory import MemoryLog, MemoryProducer, MemorySource
from common.metrics import Counters
from pipelines.direct import MicroBatches, Work
from pipelines.intake import read_on
from stores.parquet.manifest import Manifest
from tests.pipelines.line import (
    ENRICHER,
    EXACT,
    LANES,
    driver_of,
    entries_of,
    expected_documents,
    fill,
    stored_documents,
    traffic_of,
)

GONE: Final = 'pipeline_batches_dropped_total{reason="gone"}'


def test_entries_that_are_gone_are_counted_and_reading_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    log, counters = MemoryLog(1), Counters()
    for number in range(9):
        MemoryProducer(log).send(0, b"%d" % number)
    log.drop(0, 7)
    entries, reached = read_on(MemorySource(log), 0, 3, 1 << 20, 0.0, counters)
    assert ([entry.value for entry in entries], reached) == ([b"7", b"8"], 9)
    assert counters.as_map() == {GONE: 4}
    assert "partition 0: entries 3 to 6 are gone" in caplog.text


def test_where_nothing_is_left_the_position_moves_all_the_same() -> None:
    log, counters = MemoryLog(1), Counters()
    for _ in range(5):
        MemoryProducer(log).send(0, b"value")
    log.drop(0, 5)
    assert read_on(MemorySource(log), 0, 2, 1 << 20, 0.0, counters) == ([], 5)
    assert read_on(MemorySource(log), 0, 5, 1 << 20, 0.0, counters) == ([], 5)
    assert counters.as_map() == {GONE: 3}


def test_a_driver_goes_on_behind_what_is_gone(tmp_path: Path) -> None:
    entries = entries_of("small", seed=2)
    third = len(entries) // 3
    log = fill(entries[:third])
    with Manifest.open(tmp_path, writer=True) as manifest:
        read = driver_of(log, manifest).drain()
        for entry in entries[third:]:
            MemoryProducer(log).send(entry.lane, entry.value)
        lost = [(log.bounds(lane)[0], (log.bounds(lane)[0] + log.bounds(lane)[1]) // 2) for lane in range(LANES)]
        for lane, (_, end) in enumerate(lost):
            log.drop(lane, end)
        read += driver_of(log, manifest).drain()
        counted = manifest.load().counters
    assert counted[GONE] == sum(end - begin for begin, end in lost) > 0
    assert counted["pipeline_batches_total"] + counted[GONE] == len(entries)
    assert counted["pipeline_raw_documents_total"] == read


def test_a_bus_in_place_of_the_one_that_was_read_is_read_from_its_beginning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    traffic = traffic_of("small", seed=4)
    half = len(traffic.entries) // 2
    with Manifest.open(tmp_path, writer=True) as manifest:
        driver_of(fill(traffic.entries), manifest).run_once()
        short = fill(traffic.entries[half : half + 40])
        assert driver_of(short, manifest).drain() == 0
        assert manifest.load().counters['pipeline_batches_dropped_total{reason="repeat"}'] == 40
    assert "ends at" in caplog.text
    assert stored_documents(tmp_path) == expected_documents(traffic.answer)


def test_a_second_capture_in_one_data_set_is_read_whole(tmp_path: Path) -> None:
    entries = entries_of("small", seed=6)
    first = [entry for entry in entries if entry.lane % 2]
    second = [entry for entry in entries if not entry.lane % 2]
    with Manifest.open(tmp_path, writer=True) as manifest:
        flows = 0
        for capture in (first, second, first):
            log = MemoryLog(1)
            for entry in capture:
                MemoryProducer(log).send(entry.lane, entry.value)
            flows += MicroBatches(MemorySource(log), manifest, Work(ENRICHER, EXACT, LANES), resume=False).drain()
        assert flows == manifest.load().counters["pipeline_flows_total"]
        assert manifest.load().counters['pipeline_batches_dropped_total{reason="repeat"}'] == len(first)
    assert stored_documents(tmp_path) == expected_documents(traffic_of("small", seed=6).answer)


def test_what_the_source_counts_gets_into_the_manifest_once(tmp_path: Path) -> None:
    entries = entries_of("small", seed=6)
    log, counters = fill(entries[:50]), Counters()
    with Manifest.open(tmp_path, writer=True) as manifest:
        driver = MicroBatches(MemorySource(log), manifest, Work(ENRICHER, EXACT, LANES), bus_counters=counters)
        counters.add("bus_spool_damaged_total", 2)
        driver.drain()
        MemoryProducer(log).send(entries[50].lane, entries[50].value)
        driver.drain()
        assert manifest.load().counters["bus_spool_damaged_total"] == 2
