"""Reading the bus as a splittable DoFn, call by call, as a runner would drive it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.runners.sdf_utils import RestrictionTrackerView, ThreadsafeRestrictionTracker
from apache_beam.utils.timestamp import MAX_TIMESTAMP

from bus.contract import Entry
from bus.memory import MemoryLog, MemorySource
from common.errors import BusError
from common.metrics import Counters
from pipelines.source import FOREVER, LogRange, LogTracker, ReadBus, pack_element
from tests.pipelines.line import LANES, entries_of

Done = tuple[list[Any], LogRange, ManualWatermarkEstimator]
GONE: Final = 'pipeline_batches_dropped_total{reason="gone"}'
BATCHES: Final = entries_of("small", seed=3)


class Counting(ReadBus):
    """Keeps what it counts."""

    def __init__(self, log: MemoryLog) -> None:
        super().__init__(f"memory {id(log)}", lambda: MemorySource(log), LANES)
        self.counted = Counters()
        self.shown: dict[str, int] = {}

    def show(self, gauges: Mapping[str, int]) -> None:
        super().show(gauges)
        self.shown.update(gauges)

    def count(self, counters: Counters) -> None:
        super().count(counters)
        for (name, labels), amount in counters.totals.items():
            self.counted.add(name, amount, **dict(labels))


def call(reader: ReadBus, todo: LogRange, stride: int = 0) -> Done:
    """One call on a restriction: what it emitted, what is left, and the watermark's estimator."""
    tracker, estimator = LogTracker(todo), ManualWatermarkEstimator(None)
    threadsafe = ThreadsafeRestrictionTracker(tracker)
    emitted = list(reader.process(pack_element(0, stride=stride), RestrictionTrackerView(threadsafe), estimator))
    deferred = threadsafe.deferred_status()
    threadsafe.check_done()
    return emitted, deferred[0] if deferred else LogRange(todo.stop, todo.stop), estimator


@pytest.fixture
def log() -> MemoryLog:
    """One partition with the first twenty batches."""
    log = MemoryLog(1)
    for entry in BATCHES[:20]:
        log.append(entry.lane, entry.value)
    return log


def test_what_is_gone_is_counted_and_the_job_goes_on(log: MemoryLog) -> None:
    reader = Counting(log)
    _, left, _ = call(reader, LogRange(0, FOREVER))
    assert (left.start, reader.counted.value("pipeline_batches_total")) == (20, 20)
    for entry in BATCHES[20:40]:
        log.append(entry.lane, entry.value)
    log.drop(0, 25)
    emitted, left, _ = call(reader, left)
    assert (len(emitted), left.start) == (15, 40)
    assert reader.counted.as_map() == {GONE: 5, "pipeline_batches_total": 35}


class Away(MemorySource):
    """Does not answer some questions, in the middle of a call as well."""

    def __init__(self, log: MemoryLog, *silent: int) -> None:
        super().__init__(log)
        self.asked, self.silent = 0, silent

    def read(self, partition: int, offset: int, max_bytes: int, wait_s: float = 0.0) -> Sequence[Entry]:
        self.asked += 1
        if self.asked in self.silent:
            raise BusError("kafka is away")
        return super().read(partition, offset, max_bytes if self.asked > 2 else 1, wait_s)


def test_a_bus_that_is_away_is_waited_for(log: MemoryLog, caplog: pytest.LogCaptureFixture) -> None:
    reader = Counting(log)
    reader._opener = lambda: Away(log, 1, 3)
    emitted, left, estimator = call(reader, LogRange(0, FOREVER))
    assert (emitted, left, estimator.current_watermark()) == ([], LogRange(0, FOREVER), None)
    emitted, left, estimator = call(reader, left)  # one batch is read, and then nothing
    assert (emitted, left, estimator.current_watermark()) == ([], LogRange(0, FOREVER), None)
    emitted, left, _ = call(reader, left)
    assert (len(emitted), left.start) == (20, 20)
    assert reader.counted.as_map() == {"pipeline_bus_errors_total": 2, "pipeline_batches_total": 20}
    assert [line.message for line in caplog.records] == ["kafka is away; trying again in 1 s"]


def test_repeats_and_poison_are_counted(log: MemoryLog) -> None:
    log.append(BATCHES[4].lane, BATCHES[4].value)
    log.append(3, b"\xff not a batch")
    reader = Counting(log)
    emitted, _, _ = call(reader, LogRange(0, FOREVER))
    assert len(emitted) == 20
    assert reader.counted.as_map() == {
        'pipeline_batches_dropped_total{reason="contract"}': 1,
        'pipeline_batches_dropped_total{reason="repeat"}': 1,
        "pipeline_batches_total": 22,
    }


def test_a_bounded_range_that_is_gone_ends(log: MemoryLog) -> None:
    log.drop(0, 15)
    emitted, left, _ = call(Counting(log), LogRange(2, 10))
    assert (emitted, left.start) == ([], 10)
    _, _, estimator = call(Counting(log), left)
    assert estimator.current_watermark() == MAX_TIMESTAMP


def test_a_bounded_range_ends_where_the_bus_has_a_hole() -> None:
    class Holed(MemorySource):
        def read(self, partition: int, offset: int, max_bytes: int, wait_s: float = 0.0) -> list[Entry]:
            return [entry for entry in self.entries if entry.offset >= offset]

        entries = (Entry(0, 50, 3, 0, b"behind the hole"),)

        def end(self, partition: int) -> int:
            return 51

    reader = ReadBus("holed", lambda: Holed(MemoryLog(1)), LANES)
    emitted, left, _ = call(reader, LogRange(3, 20))
    assert (emitted, left.start) == ([], 20)


def test_no_call_waits_at_the_end_and_the_next_one_comes_later(log: MemoryLog) -> None:
    """All partitions of a subtask take turns: one that waited for its own would hold up those with a backlog."""
    waited = []

    class Watched(MemorySource):
        def read(self, partition: int, offset: int, max_bytes: int, wait_s: float = 0.0) -> Sequence[Entry]:
            waited.append(wait_s)
            return super().read(partition, offset, max_bytes, wait_s)

    reader = ReadBus(f"watched {id(log)}", lambda: Watched(log), LANES, max_bytes=1)
    tracker = ThreadsafeRestrictionTracker(LogTracker(LogRange(0, FOREVER)))
    rests = []
    for _ in BATCHES[:20]:
        list(reader.process(pack_element(0), RestrictionTrackerView(tracker), ManualWatermarkEstimator(None)))
        left, after = tracker.deferred_status()
        rests.append(after.micros > 100_000)
        tracker = ThreadsafeRestrictionTracker(LogTracker(left))
    assert set(waited) == {0.0}
    assert rests == [False] * 19 + [True]
