"""Where reading begins, what it does while the bus is away or grows, and ranges that end."""

from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Final

import pytest

from bus.contract import Entry, Source
from bus.memory import MemoryLog, MemorySource, memory_log
from columns.log import LaneLog, Position
from common.config import Bus, Pipeline, Settings
from common.errors import BusError, UsageError
from common.start import Start, parse_start
from flowpb.codec import decode_header
from pipelines import direct
from pipelines.backfill import back_fill
from pipelines.commands import range_of
from pipelines.direct import MicroBatches, Work
from pipelines.ranges import RangeSource, bounds_of, first_offset, read_range
from pipelines.source import FOREVER, LogRange
from pipelines.standing import gauges_of, lag_of
from stores.parquet.manifest import Manifest
from tests.pipelines.line import ENRICHER, EXACT, LANES, entries_of, expected_documents, stored_documents, traffic_of
from tests.pipelines.test_source import Counting, call

ENTRIES: Final = entries_of("small", seed=8)


class Clock:
    """One second a call."""

    def __init__(self) -> None:
        self.now_ms = 0

    def __call__(self) -> int:
        self.now_ms += 1000
        return self.now_ms


def one_partition(count: int = 10) -> MemoryLog:
    log = MemoryLog(1, Clock())
    for entry in ENTRIES[:count]:
        log.append(entry.lane, entry.value)
    return log


class KeepingSource(MemorySource):
    """Like Kafka: what is released stays."""

    def release(self, partition: int, offset: int) -> None:
        pass

    def released(self, partition: int) -> int | None:
        return 4


@pytest.mark.parametrize(
    ("text", "offset"),
    [("earliest", 2), ("latest", 10), ("committed", 4), ("5", 4), ("0:7", 7), ("1:7", 2), ("0:1", 2), ("0:99", 10)],
)
def test_where_a_reader_begins(text: str, offset: int) -> None:
    log = one_partition()
    log.drop(0, 2)
    assert first_offset(KeepingSource(log), 0, parse_start(text, 0)) == offset


def test_starts_are_parsed_and_refused() -> None:
    assert parse_start("2:5,0:7", 0) == Start("offsets", offsets={0: 7, 2: 5})
    assert parse_start("1970-01-01T00:01", 0) == Start("time", 60_000)
    with pytest.raises(UsageError, match=r"'soon' is no start: give earliest, latest, committed, a time, or PARTITION:OFFSET"):
        parse_start("soon", 0)
    with pytest.raises(ValueError, match="'soon' is no start"):
        Pipeline(start="soon")


def driver(source: Source, manifest: Manifest, start: str = "earliest") -> MicroBatches:
    return MicroBatches(source, manifest, Work(ENRICHER, EXACT, LANES), start=parse_start(start, 0))


def test_the_start_is_asked_for_only_once(tmp_path: Path) -> None:
    source = KeepingSource(one_partition())
    with Manifest.open(tmp_path, writer=True) as manifest:
        driver(source, manifest, "0:6").run_once()
        assert manifest.load().counters["pipeline_batches_total"] == 4
        driver(source, manifest, "earliest").run_once()
        assert manifest.load().counters["pipeline_batches_total"] == 4


class Away(MemorySource):
    """Answers nothing for a while."""

    def __init__(self, log: MemoryLog, failures: int) -> None:
        super().__init__(log)
        self.failures = failures

    def read(self, partition: int, offset: int, max_bytes: int, wait_s: float = 0.0) -> Sequence[Entry]:
        if self.failures:
            self.failures -= 1
            raise BusError("kafka is away")
        return super().read(partition, offset, max_bytes, wait_s)


def test_a_bus_that_is_away_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "_RETRY_S", (0.001, 0.004))
    stopped, rounds = Event(), []
    with Manifest.open(tmp_path, writer=True) as manifest:
        running = driver(Away(one_partition(), failures=5), manifest)

        def between() -> None:
            rounds.append(1)
            if manifest.load().run:
                stopped.set()

        running.run_until(stopped, 0.001, between)
        counted = manifest.load().counters
    assert len(rounds) == 6
    assert counted["pipeline_bus_errors_total"] == 5
    assert counted["pipeline_batches_total"] == 10
    assert [line.message for line in caplog.records] == ["kafka is away; trying again in 0.001 s"]


def test_a_driver_finds_partitions_that_are_added(tmp_path: Path) -> None:
    traffic = traffic_of("small", seed=21)
    log = MemoryLog(4)
    half = len(traffic.entries) // 2
    with Manifest.open(tmp_path, writer=True) as manifest:
        running = driver(MemorySource(log), manifest)
        for entry in traffic.entries[:half]:
            log.append(entry.lane, entry.value)
        running.drain()
        log.grow(8)
        for entry in traffic.entries[half:]:
            log.append(entry.lane, entry.value)
        running.drain()
        running.look_around()
        assert [running.standing[f'pipeline_unread_batches{{partition="{p}"}}'] for p in range(8)] == [0] * 8
    assert stored_documents(tmp_path) == expected_documents(traffic.answer)


def test_a_reader_of_a_job_finds_partitions_that_are_added() -> None:
    log = MemoryLog(2)
    put(log, 0, ENTRIES[:3])
    reader = Counting(log)
    emitted, left, _ = call(reader, LogRange(0, FOREVER), stride=2)
    assert (len(emitted), left.grown) == (3, ())
    log.grow(6)
    put(log, 2, ENTRIES[3:5])
    put(log, 3, ENTRIES[5:6])
    put(log, 4, ENTRIES[6:9])
    emitted, left, _ = call(reader, left, stride=2)
    assert (len(emitted), left.start, left.grown) == (5, 3, (2, 3))
    put(log, 4, ENTRIES[9:10])
    emitted, left, _ = call(reader, left, stride=2)
    assert (len(emitted), left.grown) == (1, (2, 4))
    assert reader.counted.value("pipeline_batches_total") == 9
    assert reader.shown['pipeline_unread_batches{partition="4"}'] == 0


def put(log: MemoryLog, partition: int, entries: Sequence[object]) -> None:
    """Entries into a partition, whatever their lane."""
    for entry in entries:
        found = log._partitions[partition]
        found.entries.append(Entry(partition, found.end, 0, 1, entry.value))  # type: ignore[attr-defined]


def test_lags_and_lanes_under_the_names_of_the_table() -> None:
    source = MemorySource(one_partition())
    logs = {3: LaneLog({"a": Position(1, 1, 900_000, 1), "b": Position(1, 1, 100, 1)}, 900_000)}
    assert gauges_of([lag_of(source, 0, 7, 7000, now_ms=60_000)], logs) == {
        'pipeline_unread_batches{partition="0"}': 3,
        'pipeline_unread_seconds{partition="0"}': 53,
        'pipeline_frontier_seconds{lane="3"}': 900,
        'pipeline_collectors{lane="3"}': 1,
    }
    assert lag_of(source, 0, 10, 7000, now_ms=60_000).ms == 0


def test_a_range_of_time_is_what_the_bus_took_then() -> None:
    source = MemorySource(one_partition())
    bounds = bounds_of(source, 3000, 6000)
    assert bounds == {0: (2, 5)}
    ranged = RangeSource(source, bounds)
    assert [entry.offset for entry in ranged.read(0, ranged.begin(0), 1 << 20)] == [2, 3, 4]
    ranged.release(0, 5)
    assert (ranged.read(0, 5, 1 << 20), source.begin(0), ranged.released(0)) == ([], 0, None)
    assert (ranged.offset_at(0, 0), ranged.offset_at(0, 9000)) == (2, 5)


def test_batches_of_a_range_by_lane_without_repeats() -> None:
    log = one_partition(20)
    log.append(ENTRIES[3].lane, ENTRIES[3].value)
    lanes = [decode_header(entry.value)[0].lane for entry in ENTRIES[:20]]
    wanted = set(lanes[2:6])
    found = [batch.lane for batch in read_range(MemorySource(log), LANES, 3000, 30_000, wanted, max_bytes=1)]
    assert found == [lane for lane in lanes[2:20] if lane in wanted]


def test_a_back_fill_closes_its_windows_and_refuses_a_folder_in_use(tmp_path: Path) -> None:
    traffic = traffic_of("small", seed=22)
    log = memory_log(f"back-fill {tmp_path}", LANES)
    middle = len(traffic.entries) // 2
    for entry in traffic.entries[:middle]:  # no closing heartbeats: the range ends in the middle
        log.append(entry.lane, entry.value)
    settings = Settings(data_dir=str(tmp_path), bus=Bus(url=f"memory:back-fill {tmp_path}"))
    assert back_fill(settings, 0, 1 << 50) > 0
    with Manifest.open(tmp_path, writer=False) as manifest:
        assert manifest.load().windows == ()
    documents = stored_documents(tmp_path)
    assert documents
    with pytest.raises(UsageError, match="a pipeline has worked in this folder already; give another one with --data-dir"):
        back_fill(settings, 0, 1 << 50)


def test_ranges_of_the_command_line() -> None:
    assert range_of("1000", "2000") == (1_000_000, 2_000_000)
    for from_, to, message in (("", "2000", "--to without --from"), ("2000", "1000", "--from 2000 is not before --to 1000")):
        with pytest.raises(UsageError, match=message):
            range_of(from_, to)
